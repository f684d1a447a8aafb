"""Hospital IT's room: how DICOM objects arrive, are kept and become studies."""
