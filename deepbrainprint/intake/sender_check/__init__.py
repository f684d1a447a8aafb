"""Does what a new modality would do, and explains in words whatever does not work."""
