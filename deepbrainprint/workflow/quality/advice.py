"""What a reason means, and what a person can do about it."""

from __future__ import annotations

from deepbrainprint.imaging.brain import Verdict

HEADLINES = {
    Verdict.PASS: "This is a brain and it is aligned without doubt: it can be fingerprinted.",
    Verdict.FLAG: "This is a brain, but something is doubtful: a person will be asked whose it is.",
    Verdict.FAIL: "This cannot be fingerprinted.",
}
FLAGS = {
    "low_quality": "the scan is of low quality",
    "doubtful_alignment": "the alignment is doubtful",
    "unusual_outline": "the outline of the brain is unusual",
    "unusual_structure": "the inside of the brain is unusual",
    "partial_coverage": "part of the brain is outside the images",
    "unusual_size": "the size of the brain is unusual",
    "noisy": "the images are noisy",
    "thick_slices": "the slices are thick",
}
AGAIN = "Send the whole series again, and compare its number of images with the scanner's."
NEXT = {
    "no_brain_series": "Send a structural series (T1w, T2w, FLAIR or PD) of the whole head. The "
    "list of series says why each is not usable.",
    "not_a_brain": "Look at the pictures. If they show no brain, nothing has to be done. If they "
    "do, send another series of this visit.",
    "empty_brain": "Look at the pictures: too little brain is inside the mask to tell tissues "
    "apart. Send a series that covers the whole brain.",
    "missing_slices": AGAIN,
    "truncated": AGAIN,
    "no_pixels": AGAIN,
    "damaged_pixels": AGAIN,
    "uneven_slices": "Send the slices as they were acquired: all of one volume, evenly spaced.",
    "mixed_orientations": "Send slices of one volume, all in one orientation.",
    "unsupported": "Let the archive send it uncompressed (Explicit VR Little Endian).",
    "not_a_volume": "Send the original images of a volume, not single slices or reformatted ones.",
    "unreadable_nifti": "Export the file again, and check that it was copied whole.",
    "unreadable_file": "Check the path; export or send the file again.",
    "no_files": "Check the path.",
}


def flag_words(flags: tuple[str, ...]) -> tuple[str, ...]:
    """Say in words what is doubtful; that quality is low goes without saying beside a reason."""
    doubts = [flag for flag in flags if flag != "low_quality"] or list(flags)
    return tuple(FLAGS.get(flag, flag.replace("_", " ")) for flag in doubts)


def next_step(code: str) -> str:
    """Say what to do about a refusal."""
    return NEXT.get(code, "Read the reason above; the log of the service may say more.")
