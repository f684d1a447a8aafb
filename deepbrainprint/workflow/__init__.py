"""One function per step; the only place where rooms meet."""
