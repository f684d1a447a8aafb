"""`deepbrainprint demo`: synthetic people through the whole service, and whether it was right."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepbrainprint import stack
from deepbrainprint.cli.output import console, show_json, table
from deepbrainprint.cli.state import show_addresses
from deepbrainprint.database import arrivals, reports
from deepbrainprint.database.connection import Database
from deepbrainprint.database.pipeline import FINAL_STATES
from deepbrainprint.database.reports import CandidateReport, StudyReport
from deepbrainprint.errors import Misconfigured, TryAgain
from deepbrainprint.intake import sender
from deepbrainprint.records import PatientId, State, StudyId, Verdict
from deepbrainprint.settings import Settings, load_settings
from deepbrainprint.simulation.scenario import (
    DemoStudy,
    Scenario,
    Send,
    Wait,
    demo_scenario,
    files_of,
)
from deepbrainprint.simulation.truth import Outcome, is_right
from deepbrainprint.stack import StackInfo

MARKER = "made-by-deepbrainprint-demo"  # only a folder with this file in it is ever emptied
QUIET_SECONDS = 4.0
PATIENCE_SECONDS = 1200.0
LOOK_SECONDS = 0.5


@dataclass
class Play:
    """The demo on its way: what was written, and what each study was last seen at."""

    scenario: Scenario
    info: StackInfo
    database: Database
    files: Mapping[int, list[Path]]
    seen: dict[int, tuple[int, str]] = field(default_factory=dict)


def play_demo(home: Path, *, seed: int, stop: bool, as_json: bool) -> bool:
    """Start a fresh stack under `home`, send the cast by C-STORE, judge; True if all is right."""
    started = time.monotonic()
    settings = _fresh_home(home)
    scenario = demo_scenario(seed)
    with tempfile.TemporaryDirectory(prefix="demo-") as scratch:
        info, files = _begin(settings, scenario, Path(scratch))
        database = Database(info.database_url, maximum_connections=2)
        play = Play(scenario, info, database, files)
        for step in scenario.steps:
            _take(play, step)
        lines = _judge(play)
        database.close()
    right = all(line["right"] == "yes" for line in lines)
    seconds = time.monotonic() - started
    if as_json:
        show_json({"right": right, "seconds": seconds, "studies": lines})
    else:
        _conclude(settings, info, lines, seconds=seconds, stop=stop)
    if stop:
        stack.down(settings)
    return right


def _fresh_home(home: Path) -> Settings:
    settings = load_settings(home=home.absolute(), quiet_seconds=QUIET_SECONDS)
    if home.exists() and any(home.iterdir()):
        if not (home / MARKER).is_file():
            raise Misconfigured(
                f"{home} holds something that no demo made: choose another --home",
                code="not_a_demo_home",
            )
        _say("Clearing the last demo …")
        stack.down(settings)
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True)
    (home / MARKER).touch()
    return settings


def _begin(
    settings: Settings, scenario: Scenario, scratch: Path
) -> tuple[StackInfo, dict[int, list[Path]]]:
    """Start the stack and scan the cast at the same time."""
    _say("Starting PostgreSQL, Airflow, listener and dispatcher …")
    with ThreadPoolExecutor(max_workers=1) as beside:
        starting = beside.submit(stack.up, settings, report=lambda words: _say(f"  {words}"))
        files = {}
        for study in scenario.studies:
            files[study.number] = study.write(scratch / str(study.number))
            _say(f"  scanned {_name(study)}")
        return starting.result(), files


def _take(play: Play, step: Send | Wait) -> None:
    if isinstance(step, Wait):
        _wait(play, step)
        return
    study = play.scenario.study(step.number)
    sent = sender.send(
        files_of(play.files[step.number], step.part),
        host="127.0.0.1",
        port=play.info.listener_port,
        called_ae=play.info.ae_title,
        calling_ae="DEMO_SCANNER",
    )
    part = "" if step.part == "all" else f" ({step.part.replace('_', ' ')})"
    _say(f"{_name(study)}{part}: {sent}")
    if sent.failures:
        raise TryAgain(f"the listener refused images of the demo: {sent}", code="demo_refused")


def _wait(play: Play, step: Wait) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        _say_news(play)
        report = _report(play, step.number)
        if report and report.revision >= step.revision and State(report.state) in FINAL_STATES:
            return
        time.sleep(LOOK_SECONDS)
    raise TryAgain(
        f"study {step.number} of the demo is still undecided: "
        f"look with `deepbrainprint status --home {play.info.home}`",
        code="demo_timeout",
    )


def _say_news(play: Play) -> None:
    for study in play.scenario.studies:
        report = _report(play, study.number)
        now = report and (report.revision, report.state)
        if report and now and play.seen.get(study.number) != now:
            play.seen[study.number] = now
            verdict = f", {report.verdict}" if report.state == State.DECIDED else ""
            _say(f"{_name(study)}: {report.state}{verdict}")


def _report(play: Play, number: int) -> StudyReport | None:
    with play.database.transaction() as connection:
        study_id = arrivals.study_by_uid(connection, play.scenario.study(number).study_uid)
        if study_id is None:
            return None
        return reports.study_reports(connection, study_id=study_id)[0]


def _judge(play: Play) -> list[dict[str, Any]]:
    patient_of: dict[int, PatientId] = {}
    lines = []
    for study in play.scenario.studies:
        report = _report(play, study.number)
        nearest = _nearest(play, report)
        outcome = _outcome(report, nearest)
        right = is_right(study.truth, outcome, patient_of=patient_of)
        if outcome.patient_id is not None:
            patient_of[study.number] = outcome.patient_id
        lines.append(_line(study, report, nearest) | {"right": "yes" if right else "NO"})
    return lines


def _nearest(play: Play, report: StudyReport | None) -> CandidateReport | None:
    if report is None:
        return None
    with play.database.transaction() as connection:
        links = reports.link_reports(connection, study_id=StudyId(report.study_id))
        near = reports.candidate_reports(connection, links[0].decision_id) if links else []
    return near[0] if near else None


def _outcome(report: StudyReport | None, nearest: CandidateReport | None) -> Outcome:
    if report is None:
        return Outcome(State.RECEIVING, 0)
    return Outcome(
        State(report.state),
        report.revision,
        None if report.verdict is None else Verdict(report.verdict),
        None if report.patient_id is None else PatientId(report.patient_id),
        None if nearest is None else PatientId(nearest.patient_id),
    )


def _line(
    study: DemoStudy, report: StudyReport | None, nearest: CandidateReport | None
) -> dict[str, Any]:
    return {
        "study": report.study_id if report else None,
        "what was sent": study.title,
        "truth": str(study.truth),
        "decided": report and (report.verdict or report.state),
        "patient": report and report.patient_id,
        "nearest": nearest and nearest.patient_id,
        "similarity": nearest and round(nearest.similarity, 3),
        "why": report and (", ".join(report.reasons or []) or report.reason_code),
    }


def _conclude(
    settings: Settings, info: StackInfo, lines: list[dict[str, Any]], *, seconds: float, stop: bool
) -> None:
    out = console()
    out.print()
    out.print(table(lines, title="What was decided, against what is true"))
    wrong = sum(line["right"] != "yes" for line in lines)
    words = "Every decision is right." if not wrong else f"{wrong} of {len(lines)} are wrong."
    out.print(f"\n{words} The demo took {seconds:.0f} s.", style="red" if wrong else "green")
    if stop:
        return
    out.print("\nThe stack stays up. Where to look:")
    show_addresses(stack.status(settings), info)
    out.print(f"one study    deepbrainprint studies 1 --home {info.home}")
    out.print(f"stop it      deepbrainprint down --home {info.home}")


def _name(study: DemoStudy) -> str:
    return f"study {study.number}, {study.title}"


def _say(words: str) -> None:
    console(error=True).print(words)
