"""Storage commitment (DICOM PS3.4 Annex J): requests, the check of each file, reports."""
