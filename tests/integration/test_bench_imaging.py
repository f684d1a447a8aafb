"""The benchmark of imaging, run small: it holds its goals, and notices what is broken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deepbrainprint.bench.imaging import others, registrar
from deepbrainprint.imaging import template
from deepbrainprint.records import Volume

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def bench(*words):
    command = (sys.executable, "-m", "deepbrainprint.cli", "bench", "imaging", *map(str, words))
    return subprocess.run(command, capture_output=True, text=True, timeout=840, check=False)


def measured(data, *words):
    done = bench("--data", data, "--size", "smoke", "--json", *words)
    return done.returncode, json.loads(done.stdout)


def small(greater):
    return Volume(np.ascontiguousarray(greater.data[::2, ::2, ::2]), np.diag([2.0, 2, 2, 1]))


def test_what_is_sound_holds_its_goals_and_is_drawn(shared_data, tmp_path):
    code, document = measured(shared_data, "--parts", "starts,masks", "--out", tmp_path)
    assert (code, document["failed"]) == (0, [])
    assert len(document["goals"]) == 6
    assert (tmp_path / "worst-mask.png").stat().st_size > 10_000
    assert "sub-01" not in [path.name for path in Path(tmp_path).iterdir()]


def test_a_flipped_template_is_noticed(shared_data):
    code, document = measured(shared_data, "--parts", "masks", "--break", "flip")
    assert code == 1
    assert any("landmarks" in goal for goal in document["failed"])


def test_skipped_reorientation_is_noticed(shared_data):
    code, document = measured(shared_data, "--parts", "starts", "--break", "orientation")
    assert code == 1
    assert "every scan is read into RAS order" in document["failed"]


def test_two_runs_find_the_same(shared_data):
    first, second = (
        measured(shared_data, "--parts", "repeatability")[1]["parts"]["repeatability"]["cases"]
        for _ in range(2)
    )
    assert first == second


def test_a_folder_without_data_says_what_it_wants(tmp_path):
    done = bench("--data", tmp_path)
    assert done.returncode == 3
    assert "--data" in done.stderr


def test_a_part_that_is_not_known_is_a_usage_error(tmp_path):
    assert bench("--data", tmp_path, "--parts", "colour").returncode == 2


@pytest.mark.parametrize("kind", [kind for kind in registrar.KINDS if "similarity" not in kind])
def test_the_others_find_a_known_shift_in_our_directions(kind):
    if reason := others.missing(kind.split()[0]):
        pytest.skip(reason)
    fixed = small(template.reference())
    shift = np.eye(4)
    shift[:3, 3] = (4, -3, 2)
    found = others.register(kind, fixed, Volume(fixed.data, shift @ fixed.affine))
    assert np.allclose(found.transform, shift, atol=0.35)
    assert 0 < found.peak_rss_mb < 4000
