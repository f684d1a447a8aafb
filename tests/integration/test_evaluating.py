"""`deepbrainprint evaluate` on scans whose person is known."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from typer.testing import CliRunner

from deepbrainprint.cli import app
from deepbrainprint.encoder.card import shipped
from deepbrainprint.errors import BadStudy
from deepbrainprint.imaging import template
from deepbrainprint.records import Contrast, InputForm
from deepbrainprint.workflow import methods
from deepbrainprint.workflow.evaluating.measuring import measure
from deepbrainprint.workflow.evaluating.results import groups
from deepbrainprint.workflow.evaluating.saliency import cubes, flattened, saliency
from deepbrainprint.workflow.known import preparing
from deepbrainprint.workflow.known.manifest import ListedScan, people_of, read_manifest

pytestmark = pytest.mark.slow  # together more than the fast tests may take

COLUMNS = ("path", "subject", "session", "contrast", "dataset")


def listed(folder, *lines, columns=COLUMNS):
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(lines)
    return manifest


def brain(person, scan):
    """A made-up aligned brain: a person's own texture in the template's outline, and noise."""
    detail, noise = np.random.default_rng(person), np.random.default_rng(100 + scan)
    coarse = ndimage.zoom(detail.normal(size=(23, 28, 23)), 8, order=1)[:182, :218, :182]
    data = 128 + 45 * coarse / coarse.std() + noise.normal(0, 12, coarse.shape)
    return np.where(template.mask(), np.clip(data, 1, 255), 0).astype(np.uint8)


@pytest.fixture
def people(tmp_path):
    """A manifest of three people with two scans each whose brains are in the cache already."""
    cache, lines = tmp_path / "out" / "cache", []
    cache.mkdir(parents=True)
    for number in range(6):
        person, path = number // 2, tmp_path / f"{number}.nii.gz"
        path.write_bytes(f"scan {number}".encode())
        contrast = Contrast.T1W if number % 2 == 0 else Contrast.T2W
        lines.append((path.name, f"p{person}", number % 2, contrast.value, "made up"))
        digest = preparing.digest_of(path, contrast)
        np.savez_compressed(cache / f"{digest}.npz", brain=brain(person, number))
        note = {"digest": digest, "seconds": 1.0, "refusal": "", "reasons": []}
        (cache / f"{digest}.json").write_text(json.dumps(note))
    return listed(tmp_path, *lines)


def evaluated(manifest, *words):
    out = manifest.parent / "out"
    return CliRunner().invoke(app, ["evaluate", str(manifest), "--out", str(out), *words])


def test_all_methods_stand_side_by_side(people):
    outcome = evaluated(people, "--json", "--no-saliency")
    assert outcome.exit_code == 0, outcome.output
    document = json.loads(outcome.stdout)
    assert (document["scans"], document["people"]) == (6, 3)
    assert set(document["methods"]) == {"encoder", "similarity"}
    similarity = document["methods"]["similarity"]
    everyone, *others = similarity["groups"]
    assert everyone["rank_1"]["value"] == everyone["map_at_3"]["value"] == 1
    assert everyone["rank_1"]["low"] < 0.6  # three people prove little
    assert [group["group"] for group in others] == ["T1w → T2w", "T2w → T1w"]
    assert len(similarity["scores"]) == 11
    assert document == json.loads((people.parent / "out" / "report.json").read_text())
    html = (people.parent / "out" / "report.html").read_text()
    assert html.count("data:image/png;base64,") == 2 * (1 + 6)
    assert "Where the score comes from" not in html
    assert "http" not in html


def test_the_report_shows_where_scores_come_from(people):
    outcome = evaluated(people, "--methods", "encoder")
    assert outcome.exit_code == 0, outcome.output
    html = (people.parent / "out" / "report.html").read_text()
    assert html.count("data:image/png;base64,") == 1 + 6 + 1
    assert html.count("Where the score comes from") == 1


def test_a_person_reads_a_table(people):
    outcome = evaluated(people, "--methods", "similarity", "--no-saliency")
    assert outcome.exit_code == 0, outcome.output
    assert "T1w → T2w" in outcome.stdout
    assert "report.html" in outcome.stdout


def test_an_unknown_method_names_the_known_ones(people):
    outcome = evaluated(people, "--methods", "palmistry")
    assert outcome.exception.code == "unknown_method"
    assert "use encoder, deepbrainprint, brain-id, anatcl, similarity" in str(outcome.exception)


def test_a_method_without_weights_says_how_to_get_them(people):
    outcome = evaluated(people, "--methods", "anatcl")
    assert outcome.exception.code == "no_weights"
    assert "train --recipe anatcl" in str(outcome.exception)


def test_another_encoder_stands_beside_under_a_name_of_its_own(people):
    words = ("--methods", "encoder", "--encoder", f"again={shipped()}", "--no-saliency", "--json")
    document = json.loads(evaluated(people, *words).stdout)
    one, other = (document["methods"][name]["groups"] for name in ("encoder", "again"))
    assert one == other


def test_an_encoder_that_is_not_there_is_a_usage_error(people):
    outcome = evaluated(people, "--encoder", "again=/nowhere")
    assert outcome.exit_code == 2
    assert "there is no folder /nowhere" in outcome.output


def test_a_scan_that_is_no_brain_is_left_out_and_said(people, tmp_path):
    flat = tmp_path / "flat.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((40, 40, 40), np.float32), np.diag([4, 4, 4, 1])), flat)
    with people.open("a", newline="") as file:
        csv.writer(file).writerow((flat.name, "p9", 1, "T1w", "made up"))
    words = ("--methods", "similarity", "--no-saliency", "--json")
    document = json.loads(evaluated(people, *words).stdout)
    assert document["scans"] == 6
    assert [one["path"] for one in document["refused"]] == ["flat.nii.gz"]
    again = json.loads(evaluated(people, *words).stdout)
    assert again["refused"] == document["refused"]  # which the cache remembers


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([("no.nii.gz", "p1", "1", "T1w", "")], "line 2: no.nii.gz is not there"),
        ([("a.nii.gz", "", "1", "T1w", "")], "line 2: no subject"),
        ([("a.nii.gz", "p1", "1", "X-ray", "")], "line 2: X-ray is no contrast"),
        ([], "lists no scan"),
    ],
)
def test_a_manifest_that_cannot_be_used_says_which_line_and_why(tmp_path, lines, words):
    (tmp_path / "a.nii.gz").write_bytes(b"")
    with pytest.raises(BadStudy, match=words):
        read_manifest(listed(tmp_path, *lines))


def test_a_manifest_without_a_needed_column_says_so(tmp_path):
    with pytest.raises(BadStudy, match="no column contrast"):
        read_manifest(listed(tmp_path, columns=("path", "subject", "session")))


def test_many_faults_are_counted(tmp_path):
    lines = [(f"{number}.nii.gz", "p1", "1", "T1w", "") for number in range(9)]
    with pytest.raises(BadStudy, match="and 4 more"):
        read_manifest(listed(tmp_path, *lines))


def scan_of(subject, contrast=Contrast.T1W, dataset=""):
    return ListedScan(None, "", subject, "1", contrast, dataset)


def test_one_name_in_two_datasets_is_two_people():
    scans = [scan_of("01", dataset="a"), scan_of("01", dataset="b"), scan_of("01", dataset="a")]
    first, second, third = people_of(scans)
    assert first == third != second


def test_datasets_are_measured_against_everyone():
    scans = [scan_of("1", dataset="a"), scan_of("2", dataset="b")]
    (group,) = (group for group in groups(scans) if group.name == "dataset a")
    assert group.probes.tolist() == [True, False]
    assert group.held is None


def test_scanners_and_years_are_measured_by_the_mates_that_they_part():
    scans = [
        ListedScan(None, "", "1", str(visit), Contrast.T1W, "", scanner, years)
        for visit, (scanner, years) in enumerate([("A", 0.0), ("A", 2.0), ("B", 6.0)])
    ]
    people, matrix = people_of(scans), np.ones((3, 3))
    mates = {g.name: g.searches(matrix, people).mates.sum() for g in groups(scans)}
    assert (mates["same scanner"], mates["another scanner"]) == (2, 4)
    assert (mates["1 to 5 years apart"], mates["over 5 years"]) == (4, 2)
    assert mates["0 to 1 years apart"] == 0


def test_a_manifest_without_scanners_and_years_is_not_parted_by_them():
    names = {group.name for group in groups([scan_of("1"), scan_of("1"), scan_of("2")])}
    assert names == {"all", "T1w → T1w"}


def test_the_cache_follows_content_contrast_and_not_the_name(tmp_path):
    one, other = tmp_path / "one.nii", tmp_path / "other.nii"
    one.write_bytes(b"x")
    other.write_bytes(b"x")
    assert preparing.digest_of(one, Contrast.T1W) == preparing.digest_of(other, Contrast.T1W)
    assert preparing.digest_of(one, Contrast.T1W) != preparing.digest_of(one, Contrast.T2W)


def test_an_encoder_is_measured_by_the_cosine_of_its_fingerprints():
    class Ones:
        version, form, calibration = "ones", InputForm("planes", (90,)), {}

        def encode(self, slices):
            return np.eye(512, dtype=np.float32)[[int(slices.max()) % 512]]

    quiet = {"describing": lambda _: None, "comparing": lambda _: None}
    found = measure(methods.ByEncoder(Ones()), [brain(0, 0)] * 3, **quiet)
    assert np.array_equal(found.matrices["cosine"], np.ones((3, 3)))
    assert found.bytes_per_entry == 2048


class Corner:
    """A method that looks at one corner of the grid only."""

    version, lead = "corner", "likeness"

    def describe(self, brain):
        return brain[78:104, 104:130, 78:104].astype(float)

    def entry(self, description):
        return description

    def compare(self, held, _progress):
        level = np.array([one.std() for one in held])
        return {"likeness": 1 - np.abs(level[:, None] - level[None, :]) / 255}


def test_saliency_shows_the_place_that_a_method_looks_at():
    lost = saliency(Corner(), [(brain(0, 0), brain(0, 1))])
    assert np.unravel_index(lost.argmax(), lost.shape) == (3, 4, 3)
    assert np.count_nonzero(lost) == 1


def test_a_flattened_cube_keeps_the_outline():
    whole = brain(0, 0)
    _place, cube = next(iter(cubes(whole)))
    changed = flattened(whole, cube)
    assert np.array_equal(changed > 0, whole > 0)
    assert len(np.unique(changed[cube][whole[cube] > 0])) == 1
    assert np.count_nonzero(changed != whole) <= (whole[cube] > 0).sum()
