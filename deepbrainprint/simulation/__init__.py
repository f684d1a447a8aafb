"""The synthetic scanner: people, their heads, and DICOM studies of them."""
