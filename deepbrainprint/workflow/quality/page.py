"""The report as one HTML file that needs nothing else: styles and pictures are inside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path
from string import Template

from PIL import Image

from deepbrainprint.imaging import PREPROCESSING_VERSION, pictures
from deepbrainprint.imaging.drawing import png
from deepbrainprint.records import SeriesChoice
from deepbrainprint.workflow.quality.figures import Figure
from deepbrainprint.workflow.quality.story import Outcome, ScanStory, Step, Story

TEMPLATE = Path(__file__).with_name("page.html")
PER_MM = 1.5  # pixels: about 900 across, as wide as the page
MARKS = {
    Outcome.DONE: ("pass", "✓ done"),
    Outcome.DOUBTFUL: ("flag", "! doubtful"),
    Outcome.REFUSED: ("fail", "✗ refused"),
    Outcome.NOT_REACHED: ("", "– not reached"),
}


def page(story: Story) -> str:
    """Return the report of one input as HTML."""
    inspection = story.inspection
    recorded = f"<p>The service recorded: {escape(inspection.recorded)}</p>"
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(inspection.name),
        verdict=inspection.verdict.value.upper(),
        tone=inspection.verdict.value,
        headline=escape(story.headline),
        why=_why(story.reasons),
        advice="".join(f"<li>{escape(words)}</li>" for words in story.advice),
        recorded=recorded if inspection.recorded else "",
        body="\n".join(_body(story)),
        made=f"DeepBrainPrint {version('deepbrainprint')}, preprocessing {PREPROCESSING_VERSION}.",
    )


def _why(reasons: Sequence[str]) -> str:
    if not reasons:
        return ""
    return f"<h2>Why</h2>\n<ul>{''.join(f'<li>{escape(reason)}</li>' for reason in reasons)}</ul>"


def _body(story: Story) -> Iterable[str]:
    if story.choice is not None:
        yield _section(story.choice, _series_table(story.inspection.series))
    for scan in story.scans:
        yield from _scan(scan)


def _scan(scan: ScanStory) -> Iterable[str]:
    conversion, mask, alignment = scan.steps
    verdict = scan.inspected.verdict.value
    yield f'<h2 class="{verdict}">{escape(scan.title)}: {verdict.upper()}</h2>'
    yield _section(conversion)
    yield _section(mask, _native(scan))
    yield _section(alignment, _figures_table(alignment.figures), _aligned(scan))


def _section(step: Step, *parts: str) -> str:
    tone, mark = MARKS[step.outcome]
    seconds = "" if step.seconds is None else f'<span class="seconds">{step.seconds:.1f} s</span>'
    words = "".join(f"<p>{escape(sentence)}</p>" for sentence in step.words)
    return (
        f"<section><header><h3>{step.name}</h3>"
        f'<span class="mark {tone}">{mark}</span>{seconds}</header>'
        f"{words}{''.join(parts)}</section>"
    )


def _series_table(choices: Sequence[SeriesChoice]) -> str:
    if not choices:
        return ""
    heads = ("Series", "Contrast", "Usable", "Confidence", "Instances", "Reason")
    return _table(heads, [_series_row(choice) for choice in choices])


def _series_row(choice: SeriesChoice) -> str:
    return (
        f'<td class="number">{choice.series_number}</td><td>{choice.contrast.value}</td>'
        f"<td>{'yes' if choice.usable else 'no'}</td>"
        f'<td class="number">{choice.confidence:.2f}</td>'
        f'<td class="number">{choice.instance_count}</td><td>{escape(choice.reason)}</td>'
    )


def _figures_table(figures: Sequence[Figure]) -> str:
    if not figures:
        return ""
    return _table(("Figure", "Value", "Limits", "What it means"), map(_figure_row, figures))


def _figure_row(figure: Figure) -> str:
    tone, mark = ("pass", "✓") if figure.good else ("flag", "!")
    todo = "" if figure.good else f"<small><b>What to do:</b> {escape(figure.advice)}</small>"
    unlimited = figure.least is None and figure.most is None
    shown = "" if unlimited else f' <span class="mark {tone}">{mark}</span>'
    return (
        f"<td>{escape(figure.label)}</td>"
        f'<td class="number">{escape(figure.shown)}{shown}</td>'
        f"<td>{escape(figure.limits)}</td><td>{escape(figure.meaning)}{todo}</td>"
    )


def _table(heads: Sequence[str], rows: Iterable[str]) -> str:
    right = {"Series", "Confidence", "Instances", "Value"}
    head = "".join(
        f'<th scope="col"{" class=number" if name in right else ""}>{name}</th>' for name in heads
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _native(scan: ScanStory) -> str:
    found = scan.inspected.examination
    if found is None:
        return ""
    picture = pictures.native(found.scan, found.mask, per_mm=PER_MM)
    if found.mask is None:
        return _figure(
            picture,
            "Slices of the scan as it came; no brain was found in it. Sagittal ones are left out: "
            "they would show a face.",
        )
    return _figure(
        picture,
        "Slices of the scan as it came, the brain mask outlined in amber. The line should follow "
        "the surface of the brain. What is further than 20 mm from it is black, so that no face "
        "is shown.",
        "#ffb000",
    )


def _aligned(scan: ScanStory) -> str:
    found = scan.inspected.examination
    if found is None or found.alignment is None:
        return ""
    return _figure(
        pictures.aligned(found.alignment.brain, per_mm=PER_MM),
        "The aligned brain, the outline of the standard brain in blue. The brain should fill the "
        "line, with the ventricles in the middle.",
        "#56b4e9",
    )


def _figure(picture: Image.Image, words: str, colour: str = "") -> str:
    data = base64.b64encode(png(picture)).decode("ascii")
    key = f'<span class="key" style="background:{colour}"></span> ' if colour else ""
    size = f'width="{picture.width}" height="{picture.height}"'
    return (
        f'<figure><img {size} alt="{escape(words)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{key}{escape(words)}</figcaption></figure>"
    )
