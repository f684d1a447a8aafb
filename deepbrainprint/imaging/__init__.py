"""Pixels: from DICOM files to one aligned brain."""
