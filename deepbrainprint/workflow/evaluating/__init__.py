"""One use case: every method of recognising a person, measured on one manifest of scans."""
