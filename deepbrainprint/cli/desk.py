"""Commands of the desks: what is where, who was linked to whom, what waits for a person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from deepbrainprint.cli.access import connection_of
from deepbrainprint.cli.completeness import completeness_of, say_completeness
from deepbrainprint.cli.output import console, show, show_json, table
from deepbrainprint.database import reports
from deepbrainprint.database.connection import Connection
from deepbrainprint.database.reports import (
    CandidateReport,
    EvidenceReport,
    LinkReport,
    SeriesReport,
    StudyReport,
)
from deepbrainprint.errors import BadStudy
from deepbrainprint.records import StudyId, Verdict
from deepbrainprint.settings import Settings, load_settings

Home = Annotated[Path | None, typer.Option(help="Folder that holds all state.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Limit = Annotated[int, typer.Option(min=1, help="At most this many, newest first.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(studies)
    app.command()(links)
    app.command()(queue)


def studies(
    study: Annotated[int | None, typer.Argument(help="One study: its whole story.")] = None,
    home: Home = None,
    as_json: AsJson = False,
    limit: Limit = 100,
) -> None:
    """Say where each study is, and why one ended as it did."""
    with connection_of(settings_of(home)) as connection:
        found = reports.study_reports(
            connection, study_id=None if study is None else StudyId(study), limit=limit
        )
        if study is not None:
            _show_story(connection, found, study, as_json=as_json)
            return
    if as_json:
        show_json(found)
    else:
        show(
            [_study_line(report) for report in found], as_json=False, empty="No study has arrived."
        )


def _show_story(
    connection: Connection, found: list[StudyReport], study: int, *, as_json: bool
) -> None:
    if not found:
        raise BadStudy(f"there is no study {study}", code="no_such_study")
    steps = reports.step_reports(connection, StudyId(study))
    series = reports.series_reports(connection, StudyId(study))
    evidence = _evidence(connection, study)
    if as_json:
        story = {"study": found[0], "series": series, "steps": steps, "evidence": evidence}
        show_json(story | completeness_of(connection, StudyId(study)))
        return
    console().print(table([_study_line(found[0])]))
    say_completeness(connection, StudyId(study))
    if series:
        console().print(table([_series_line(report) for report in series], title="\nSeries"))
    nearest = [_evidence_line(report) for report in evidence if report.rank == 1]
    if nearest:
        console().print(table(nearest, title="\nEvidence for the best candidate"))
    if steps:
        lines = [
            {
                "revision": step.revision,
                "step": step.step,
                "started": step.started_at,
                "seconds": (step.ended_at - step.started_at).total_seconds(),
                "outcome": step.outcome,
                "reason": step.reason or None,
            }
            for step in steps
        ]
        console().print(table(lines, title="\nSteps"))


def _evidence(connection: Connection, study: int) -> list[EvidenceReport]:
    links = reports.link_reports(connection, study_id=StudyId(study))
    return reports.evidence_reports(connection, links[0].decision_id) if links else []


def _series_line(report: SeriesReport) -> dict[str, Any]:
    return {
        "series": report.series_number,
        "contrast": report.contrast,
        "confidence": report.confidence,
        "usable": "yes" if report.usable else "no",
        "chosen": "yes" if report.chosen else "no",
        "verdict": report.verdict,
        "instances": report.instance_count,
        "reason": "; ".join([*report.verdict_reasons, report.reason]),
    }


def _evidence_line(report: EvidenceReport) -> dict[str, Any]:
    return {
        "series": report.series_number,
        "contrast": report.contrast,
        "against study": report.known_study_id,
        "its series": report.known_series_number,
        "its contrast": report.known_contrast,
        "similarity": report.similarity,
        "evidence": report.llr,
        "counted": "yes" if report.counted else "no, low quality",
    }


def _study_line(report: StudyReport) -> dict[str, Any]:
    return {
        "study": report.study_id,
        "revision": report.revision,
        "state": report.state,
        "instances": report.instances,
        "from": report.calling_ae,
        "last image": report.last_instance_at,
        "verdict": report.verdict,
        "patient": report.patient_id,
        "reason": report.reason or ", ".join(report.reasons or []) or None,
    }


def links(home: Home = None, as_json: AsJson = False, limit: Limit = 100) -> None:
    """List the decisions that count, with the evidence they were made on."""
    _show_decisions(home, None, as_json=as_json, limit=limit, empty="Nothing is decided yet.")


def queue(home: Home = None, as_json: AsJson = False, limit: Limit = 100) -> None:
    """List the studies that wait for a person, with the candidates they were compared with."""
    _show_decisions(
        home, Verdict.REVIEW, as_json=as_json, limit=limit, empty="Nothing waits for a person."
    )


def _show_decisions(
    home: Path | None, verdict: Verdict | None, *, as_json: bool, limit: int, empty: str
) -> None:
    with connection_of(settings_of(home)) as connection:
        found = [
            (
                link,
                reports.candidate_reports(connection, link.decision_id),
                reports.evidence_reports(connection, link.decision_id),
            )
            for link in reports.link_reports(connection, verdict=verdict, limit=limit)
        ]
    if as_json:
        show_json(
            [
                vars(link) | {"candidates": [_candidate(one, evidence) for one in near]}
                for link, near, evidence in found
            ]
        )
    else:
        show([_link_line(link, near) for link, near, _ in found], as_json=False, empty=empty)


def _candidate(near: CandidateReport, evidence: list[EvidenceReport]) -> dict[str, Any]:
    return vars(near) | {"evidence": [vars(one) for one in evidence if one.rank == near.rank]}


def _link_line(link: LinkReport, near: list[CandidateReport]) -> dict[str, Any]:
    best = near[0] if near else None
    return {
        "study": link.study_id,
        "verdict": link.verdict,
        "patient": link.patient_id,
        "best candidate": best and best.patient_id,
        "similarity": best and best.similarity,
        "evidence": best and best.llr,
        "reasons": link.reasons,
        "by": link.decided_by,
        "encoder": link.encoder_version,
        "when": link.decided_at,
    }


def settings_of(home: Path | None) -> Settings:
    """Settings of the environment; a running stack under `home` adds what it chose."""
    from deepbrainprint.stack import settings_of_home  # noqa: PLC0415 — only doors that ask

    return settings_of_home(load_settings(**({} if home is None else {"home": home})))
