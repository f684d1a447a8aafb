"""Pixels: from DICOM files to one aligned brain."""

from __future__ import annotations

PREPROCESSING_VERSION = "2"  # part of every bundle: a change here asks for new fingerprints
