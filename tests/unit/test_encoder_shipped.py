"""The encoder that comes with the package."""

from __future__ import annotations

import numpy as np
import pytest

from deepbrainprint.encoder.card import read_card, shipped
from deepbrainprint.encoder.runtime import open_encoder
from deepbrainprint.linkage.calibration import Calibration

VENTRICLES = 90


def test_the_shipped_encoder_opens_and_gives_unit_vectors():
    encoder = open_encoder()
    slices = np.random.default_rng(0).integers(1, 255, (2, *encoder.form.shape))
    vectors = encoder.encode(slices.astype(np.uint8))
    assert vectors.shape == (2, 512)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_the_shipped_encoder_reads_the_plane_of_the_ventricles():
    assert VENTRICLES in read_card(None).form.planes


def test_the_shipped_folder_is_called_like_its_version_and_is_under_fifty_megabytes():
    assert shipped().name == read_card(None).version
    assert sum(p.stat().st_size for p in shipped().iterdir()) < 50e6
    assert {p.name for p in shipped().iterdir()} >= {"MODEL_CARD.md", "curves.png"}


def test_the_shipped_thresholds_leave_room_for_review():
    calibration = Calibration.from_json(read_card(None).calibration)
    assert calibration.new_below < calibration.link_above
    assert calibration.llr(0.97, same_contrast=True) > calibration.link_above
    assert calibration.llr(0.2, same_contrast=False) < calibration.new_below


@pytest.mark.slow
def test_a_patient_is_found_again_after_203_days(shared_data):
    from deepbrainprint.imaging import brain, slices, volume  # noqa: PLC0415

    encoder = open_encoder()
    calibration = Calibration.from_json(encoder.calibration)
    names = ("repeat/study1_T1W", "repeat/study2_T1W", "t1_t2/sub-01_T1w")
    brains = [brain.extract(volume.read(shared_data / f"{n}.nii.gz")).brain for n in names]
    first, second, other = encoder.encode(
        np.stack([slices.axial(b, encoder.form.planes) for b in brains])
    )
    assert calibration.llr(float(first @ second), same_contrast=True) > calibration.new_below + 2
    assert calibration.llr(float(first @ other), same_contrast=True) < calibration.new_below
