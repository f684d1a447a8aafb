"""What the report of one input says, in every form, for each way that a scan can go."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from deepbrainprint.cli.output import _plain
from deepbrainprint.cli.quality import _say as say
from deepbrainprint.imaging import quality, template
from deepbrainprint.imaging.alignment import Alignment
from deepbrainprint.imaging.brain import Examination, Verdict
from deepbrainprint.records import Contrast, SeriesChoice
from deepbrainprint.workflow.quality import advice, figures, page, sheet
from deepbrainprint.workflow.quality.document import document_of, input_of
from deepbrainprint.workflow.quality.inspection import InspectedScan, Inspection, Refusal
from deepbrainprint.workflow.quality.story import orientation, told
from tests.conftest import ROOT

GOOD = {
    "mask_ml": 1500.0, "scale": 0.8, "stretch": 1.05, "residual": 0.6, "overlap": 0.97,
    "coverage": 1.0, "slice_mm": 1.0, "noise": 0.03, "structure": 0.5,
}  # fmt: skip
T1W = SeriesChoice("1.2.3", 5, Contrast.T1W, True, 0.95, "short echo (TE 3 ms)", 176)
SCOUT = SeriesChoice("1.2.4", 1, Contrast.LOCALIZER, False, 1.0, "three orientations", 9)


def examined(**measured: float) -> InspectedScan:
    """The template as a scan whose figures are these."""
    brain = template.reference()
    found = GOOD | measured
    flags = quality.flags(found)
    alignment = Alignment(
        brain.data.astype(np.uint8), np.eye(4), found["residual"], found["scale"],
        found["mask_ml"], found,
    )  # fmt: skip
    verdict = Verdict.FLAG if "low_quality" in flags else Verdict.PASS
    seconds = {"strip": 2.0, "align": 3.0}
    examination = Examination(brain, verdict, flags, "", template.mask(), alignment, seconds)
    return InspectedScan(T1W, 176, 1.0, brain, None, examination)


def refused_by(step: str) -> Inspection:
    """An input that was refused at one step."""
    brain = template.reference()
    if step == "series":
        return Inspection("in", (SCOUT,), (), Refusal("no_brain_series", "no series shows a head"))
    if step == "conversion":
        scan = InspectedScan(T1W, 9, 0.1, None, Refusal("missing_slices", "slices are missing"))
        return Inspection("in", (T1W,), (scan,))
    reasons = ("it is no brain",)
    found = Examination(brain, Verdict.FAIL, reasons, "not_a_brain", seconds={"strip": 1.0})
    if step == "alignment":
        good = examined(residual=0.9).examination
        found = replace(good, verdict=Verdict.FAIL, reasons=reasons, code="not_a_brain")
    return Inspection("in", (T1W,), (InspectedScan(T1W, 9, 0.1, brain, None, found),))


def outcomes(inspection: Inspection) -> list[str]:
    story = told(inspection)
    steps = [story.choice, *(step for scan in story.scans for step in scan.steps)]
    return [step.outcome.value for step in steps if step is not None]


@pytest.mark.parametrize(
    ("step", "way", "code"),
    [
        ("series", ["refused"], "no_brain_series"),
        ("conversion", ["done", "refused", "not reached", "not reached"], "missing_slices"),
        ("mask", ["done", "done", "refused", "not reached"], "not_a_brain"),
        ("alignment", ["done", "done", "done", "refused"], "not_a_brain"),
    ],
)
def test_a_refusal_is_told_at_the_step_where_it_happened(step, way, code):
    inspection = refused_by(step)
    story, found = told(inspection), input_of(told(inspection), None)
    assert outcomes(inspection) == way
    assert (found["verdict"], found["code"]) == ("fail", code)
    assert story.advice == (advice.NEXT[code],)
    assert story.reasons[0] in page.page(story)
    assert escape(advice.NEXT[code]) in page.page(story)


def test_a_good_scan_passes_and_asks_for_nothing():
    story = told(Inspection("in", (T1W, SCOUT), (examined(),)))
    assert outcomes(story.inspection) == ["done"] * 4
    assert (story.inspection.verdict, story.reasons) == (Verdict.PASS, ())
    assert story.advice == ("Nothing has to be done.",)


@pytest.mark.parametrize(
    ("figure", "value", "words"),
    [
        ("residual", 0.78, "the alignment is doubtful"),
        ("overlap", 0.8, "the outline of the brain is unusual"),
        ("coverage", 0.7, "part of the brain is outside the images"),
        ("scale", 1.4, "the size of the brain is unusual"),
        ("noise", 0.2, "the images are noisy"),
    ],
)
def test_a_flag_names_the_figure_its_limit_and_what_to_do(figure, value, words):
    story = told(Inspection("in", (T1W,), (examined(**{figure: value}),)))
    (beyond,) = [one for one in story.scans[0].steps[2].figures if not one.good]
    assert story.inspection.verdict is Verdict.FLAG
    assert (beyond.name, story.reasons, story.advice) == (figure, (words,), (beyond.advice,))
    assert escape(beyond.advice) in page.page(story)


def test_every_flag_and_every_figure_that_imaging_knows_is_explained():
    bad = {
        "residual": 1.0,
        "overlap": 0.0,
        "coverage": 0.0,
        "scale": 9.0,
        "noise": 1.0,
        "slice_mm": 9,
    }
    assert set(quality.flags(bad)) <= set(advice.FLAGS)
    assert all(figure.meaning for figure in figures.figures_of(GOOD))


def test_every_code_with_which_imaging_refuses_a_scan_has_advice():
    machine = {
        "conversion_slow", "conversion_stopped", "disk", "missing_template", "missing_weights",
        "wrong_weights",
    }  # fmt: skip
    sources = (ROOT / "deepbrainprint" / "imaging").glob("*.py")
    codes = {code for path in sources for code in re.findall(r'code="(\w+)"', path.read_text())}
    assert codes - machine <= set(advice.NEXT)


def test_thick_slices_are_noted_and_still_pass():
    story = told(Inspection("in", (T1W,), (examined(slice_mm=7.0),)))
    assert story.inspection.verdict is Verdict.PASS
    assert story.reasons == ("the slices are thick",)


def test_a_figure_that_is_new_is_shown_without_explanation():
    (figure,) = figures.figures_of({"bias_share": 0.25})
    assert (figure.label, figure.shown, figure.limits) == ("Bias share", "0.250", "no limit")


def test_one_usable_series_is_enough_for_a_study():
    bad = refused_by("conversion").scans[0]
    story = told(Inspection("in", (T1W, T1W), (bad, examined())))
    assert story.inspection.verdict is Verdict.PASS
    assert input_of(story, None)["code"] == ""


def test_the_document_keeps_its_form():
    flagged = input_of(told(Inspection("a", (T1W,), (examined(coverage=0.7),))), Path("a.html"))
    failed = input_of(told(refused_by("conversion")), None)
    document = json.loads(json.dumps(document_of([flagged, failed], Path("s.png")), default=_plain))
    assert (document["verdict"], document["sheet"]) == ("fail", "s.png")
    first, second = document["inputs"]
    assert set(first) == set(second) == {
        "input", "verdict", "code", "reasons", "next", "recorded", "series_seconds", "series",
        "scans", "report",
    }  # fmt: skip
    assert set(first["series"][0]) == {
        "series_number", "contrast", "usable", "confidence", "reason", "instances",
    }  # fmt: skip
    assert set(first["scans"][0]) == set(second["scans"][0]) == {
        "series_number", "contrast", "verdict", "code", "flags", "reasons", "next", "files",
        "volume", "figures", "seconds",
    }  # fmt: skip
    assert first["scans"][0]["flags"] == ["low_quality", "partial_coverage"]
    assert first["scans"][0]["figures"]["coverage"] == {
        "value": 0.7, "unit": "", "least": quality.LEAST_COVERAGE, "most": None, "good": False,
    }  # fmt: skip
    assert first["scans"][0]["volume"]["voxels"] == [182, 218, 182]
    assert first["scans"][0]["seconds"] == {"convert": 1.0, "strip": 2.0, "align": 3.0}
    assert (second["scans"][0]["volume"], second["scans"][0]["figures"]) == (None, {})
    assert "1.2.3" not in json.dumps(document)  # no UID


class Reader(HTMLParser):
    """Everything a page loads, and the pictures' words."""

    def __init__(self):
        super().__init__()
        self.loads, self.alts, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.loads += [named[name] for name in ("src", "href") if name in named]
        self.alts += [named.get("alt")] if tag == "img" else []

    def handle_data(self, data):
        self.text.append(data)


def test_a_person_reads_each_step_in_words(capsys):
    say(told(Inspection("in [1]", (T1W, SCOUT), (examined(coverage=0.7),))), Path("r.html"))
    words = capsys.readouterr().out
    for said in ("in [1]", "FLAG", "series 1: localizer, not usable", "182×218×182 voxels",
                 "1500 ml of brain", "at least 0.85  !", "why:  part of the brain is outside",
                 "next: Send a series that covers", "report: r.html"):  # fmt: skip
        assert said in words


def test_a_page_needs_no_other_file_and_its_pictures_have_words():
    reader = Reader()
    reader.feed(page.page(told(Inspection("in", (T1W,), (examined(),)))))
    assert len(reader.loads) == 2
    assert all(load.startswith("data:image/png;base64,") for load in reader.loads)
    assert all("brain" in alt for alt in reader.alts)


def test_what_a_header_or_path_says_cannot_become_markup():
    nasty = "<script>alert(1)</script>"
    series = replace(SCOUT, reason=nasty)
    inspection = Inspection(nasty, (series,), (), Refusal("no_brain_series", nasty), recorded=nasty)
    assert "<script" not in page.page(told(inspection))


def test_a_sheet_has_a_row_for_each_scan_and_one_for_what_has_none():
    two = told(Inspection("in", (T1W,), (examined(), refused_by("mask").scans[0])))
    none = told(refused_by("series"))
    rows = [*sheet.rows(two), *sheet.rows(none)]
    assert len(rows) == 3
    assert len({row.width for row in rows}) == 1
    parts = [np.asarray(row)[:, sheet.TEXT_WIDTH :].max(axis=(0, 2)) for row in rows]
    native, aligned = ([bool(part[a:b].max() > 100) for part in parts]
                       for a, b in ((0, sheet.NATIVE_WIDTH), (sheet.NATIVE_WIDTH, None)))  # fmt: skip
    assert (native, aligned) == ([True, True, False], [True, False, False])


def test_text_is_folded_into_its_column():
    lines = [("a reason that goes on and on " * 12, (255, 255, 255))]
    drawn = np.asarray(sheet._text(lines, 400))
    assert drawn[:, -sheet.GAP // 2 :].max() == 0
    assert drawn.max() > 200


def test_orientation_is_said_by_the_thickest_edge():
    assert orientation(np.diag([1.0, 1.0, 5.0, 1.0])) == "axial slices, tilted 0°"
    assert orientation(np.diag([4.0, 0.8, 0.8, 1.0])) == "sagittal slices, tilted 0°"
    assert orientation(np.diag([1.0, 1.2, 1.0, 1.0])) == "3D, tilted 0°"


def test_a_refused_scan_without_a_mask_is_drawn_without_a_face():
    drawn = page.page(told(refused_by("mask")))
    assert "Sagittal ones are left out" in drawn
