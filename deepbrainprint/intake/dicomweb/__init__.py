"""The HTTP door: STOW-RS and QIDO-RS (DICOM PS3.18) for holders of a token."""
