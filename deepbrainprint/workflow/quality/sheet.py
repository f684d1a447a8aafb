"""The report as PNG: one picture for an input, or a row of a contact sheet for each scan."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from PIL import Image, ImageDraw

from deepbrainprint.imaging import pictures
from deepbrainprint.imaging.brain import Verdict
from deepbrainprint.imaging.drawing import AMBER, INK, PAPER, Colour, font, stacked
from deepbrainprint.workflow.quality.story import ScanStory, Story, series_words

LINE, TEXT = 19, 13  # pixels: from one line of text to the next, and its size
LETTER = 7.6  # pixels: width of a usual letter
GAP = 14
NATIVE_WIDTH, ALIGNED_WIDTH, TEXT_WIDTH = 930, 700, 560
NATIVE_PER_MM, ALIGNED_PER_MM = 1.0, 1.0
REPORT_PER_MM = 1.5
COLOURS: dict[Verdict, Colour] = {
    Verdict.PASS: (120, 200, 140),
    Verdict.FLAG: AMBER,
    Verdict.FAIL: (255, 120, 110),
}

Line = tuple[str, Colour]


def report(story: Story) -> Image.Image:
    """Draw the report of one input: what is said in words, and the pictures of each scan."""
    parts = [_text(_opening(story), 1100)]
    for scan in story.scans:
        parts += [_text(_scan_lines(scan), 1100), *_pictures(scan)]
    return stacked(parts)


def rows(story: Story) -> list[Image.Image]:
    """Draw one row of a contact sheet for each scan, or one for an input that has none."""
    if not story.scans:
        return [_row(_opening(story), None)]
    return [_row([*_name(story, scan), *_scan_lines(scan)], scan) for scan in story.scans]


def _row(lines: Sequence[Line], scan: ScanStory | None) -> Image.Image:
    cells = [_text(lines, TEXT_WIDTH), *_small_pictures(scan)]
    row = Image.new(
        "RGB",
        (TEXT_WIDTH + NATIVE_WIDTH + ALIGNED_WIDTH, max(cell.height for cell in cells) + GAP),
        PAPER,
    )
    for across, cell in zip((0, TEXT_WIDTH, TEXT_WIDTH + NATIVE_WIDTH), cells, strict=False):
        row.paste(cell, (across, 0))
    ImageDraw.Draw(row).line((0, row.height - 1, row.width, row.height - 1), fill=(90, 90, 90))
    return row


def _small_pictures(scan: ScanStory | None) -> list[Image.Image]:
    found = scan and scan.inspected.examination
    if not found:
        return []
    native = pictures.native(found.scan, found.mask, per_mm=NATIVE_PER_MM, few=True)
    native.thumbnail((NATIVE_WIDTH, native.height))
    if found.alignment is None:
        return [native]
    return [native, pictures.aligned(found.alignment.brain, per_mm=ALIGNED_PER_MM, few=True)]


def _pictures(scan: ScanStory) -> list[Image.Image]:
    found = scan.inspected.examination
    if found is None:
        return []
    drawn = [
        _text([("The scan as it came, the brain mask in amber:", INK)], 1100),
        pictures.native(found.scan, found.mask, per_mm=REPORT_PER_MM),
    ]
    if found.alignment is not None:
        drawn += [
            _text([("Aligned, the outline of the standard brain in blue:", INK)], 1100),
            pictures.aligned(found.alignment.brain, per_mm=REPORT_PER_MM),
        ]
    return drawn


def _opening(story: Story) -> list[Line]:
    inspection = story.inspection
    colour = COLOURS[inspection.verdict]
    said = [
        (inspection.name, INK),
        (f"{inspection.verdict.value.upper()}  {story.headline}", colour),
        *((f"why: {reason}", colour) for reason in story.reasons),
        *((f"next: {words}", INK) for words in story.advice),
    ]
    return [*said, *((series_words(choice), INK) for choice in inspection.series)]


def _name(story: Story, scan: ScanStory) -> list[Line]:
    verdict = scan.inspected.verdict
    return [(story.inspection.name, INK), (verdict.value.upper(), COLOURS[verdict])]


def _scan_lines(scan: ScanStory) -> list[Line]:
    verdict = scan.inspected.verdict
    lines: list[Line] = [(scan.title, INK)]
    lines += [(f"why: {reason}", COLOURS[verdict]) for reason in scan.reasons]
    for step in scan.steps:
        seconds = "" if step.seconds is None else f" ({step.seconds:.1f} s)"
        words = " ".join(word for word in step.words if word not in scan.reasons)
        lines.append((f"{step.name}: {step.outcome.value}{seconds}. {words}".rstrip(), INK))
    figures = [figure for step in scan.steps for figure in step.figures]
    lines += [
        (f"{figure.label} {figure.shown} ({figure.limits})", INK if figure.good else AMBER)
        for figure in figures
    ]
    return lines


def _text(lines: Iterable[Line], width: int) -> Image.Image:
    """Draw `lines`, folded to `width` pixels."""
    letters = int((width - 2 * GAP) / LETTER)
    folded = [(part, colour) for words, colour in lines for part in _folded(words, letters)]
    block = Image.new("RGB", (width, len(folded) * LINE + 2 * GAP), PAPER)
    draw, words = ImageDraw.Draw(block), font(TEXT)
    for number, (part, colour) in enumerate(folded):
        draw.text((GAP, GAP + number * LINE), part, fill=colour, font=words)
    return block


def _folded(words: str, letters: int) -> list[str]:
    return textwrap.wrap(words, letters, subsequent_indent="  ") or [""]
