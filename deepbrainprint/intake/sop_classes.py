"""Storage SOP classes that the listener takes beside those that pynetdicom knows."""

from __future__ import annotations

# Retired in PS3.6 Annex A but still met in archives; not in pynetdicom's list.
RETIRED_STORAGE = (
    "1.2.840.10008.5.1.4.1.1.3",  # Ultrasound Multi-frame Image
    "1.2.840.10008.5.1.4.1.1.5",  # Nuclear Medicine Image
    "1.2.840.10008.5.1.4.1.1.6",  # Ultrasound Image
    "1.2.840.10008.5.1.4.1.1.8",  # Standalone Overlay
    "1.2.840.10008.5.1.4.1.1.9",  # Standalone Curve
    "1.2.840.10008.5.1.4.1.1.9.1",  # Waveform, trial
    "1.2.840.10008.5.1.4.1.1.10",  # Standalone Modality LUT
    "1.2.840.10008.5.1.4.1.1.11",  # Standalone VOI LUT
    "1.2.840.10008.5.1.4.1.1.12.3",  # X-Ray Angiographic Bi-Plane Image
    "1.2.840.10008.5.1.4.1.1.77.1",  # VL Image, trial
    "1.2.840.10008.5.1.4.1.1.77.2",  # VL Multi-frame Image, trial
    "1.2.840.10008.5.1.4.1.1.88.1",  # Text SR, trial
    "1.2.840.10008.5.1.4.1.1.88.2",  # Audio SR, trial
    "1.2.840.10008.5.1.4.1.1.88.3",  # Detail SR, trial
    "1.2.840.10008.5.1.4.1.1.88.4",  # Comprehensive SR, trial
    "1.2.840.10008.5.1.4.1.1.129",  # Standalone PET Curve
)
# Scanners put these into the same study as the images (vendors' DICOM conformance statements).
PRIVATE_STORAGE = (
    "1.3.12.2.1107.5.9.1",  # Siemens CSA Non-Image
    "1.3.46.670589.11.0.0.12.1",  # Philips MR Spectrum
    "1.3.46.670589.11.0.0.12.2",  # Philips MR Series Data
    "1.3.46.670589.11.0.0.12.4",  # Philips MR Examcard
)
