"""Closes studies: when they are quiet, when a modality says that all is sent, when a person asks.

A study that is quiet but looks incomplete waits for what is missing, DBP_INCOMPLETE_WAIT_SECONDS
at most after it went quiet, and closes then with the reason kept. A procedure step in progress is
such a reason; once all steps have ended and all that they name is here, the study closes at once.
An image that comes after that opens the next revision, as any late image does.
"""

from __future__ import annotations

import time

import structlog

from deepbrainprint.database.completeness import (
    Closing,
    ImagePlace,
    OpenStudy,
    announced_instances,
    close_study,
    image_places,
    learn_pause,
    longest_pause,
    open_studies,
    procedure_steps,
    record_quiet_time,
    record_waiting,
)
from deepbrainprint.database.connection import Connection, Database
from deepbrainprint.database.duplicates import duplicates_of
from deepbrainprint.intake.closing.completeness import Finding, findings, told_findings
from deepbrainprint.intake.closing.duplicates import note_study_pixels
from deepbrainprint.intake.closing.recount import Recount
from deepbrainprint.intake.closing.rhythm import (
    FADING,
    QuietTime,
    bounds,
    pauses_with,
    quiet_time,
    spoken,
)
from deepbrainprint.settings import Settings

log = structlog.get_logger()

_ROUND_SECONDS = 5.0  # after this no further study is begun: revisions wait to be handed over
_LOOK_AGAIN_SECONDS = 30.0  # at a study that waits and gets no image; its source is asked again


class Closer:
    """Looks at open studies. Several may do so against one database."""

    def __init__(self, settings: Settings, database: Database) -> None:
        """Misconfigured when a setting about sources cannot be read."""
        self._settings = settings
        self._database = database
        self._recount = Recount(settings)

    def close_due(self) -> None:
        """Close what is complete, quiet or asked for; let wait what looks incomplete."""
        started = time.monotonic()
        with self._database.transaction() as connection:
            studies = open_studies(connection)
        for study in studies:
            if time.monotonic() - started > _ROUND_SECONDS:
                return
            self._look_at(study)

    def _look_at(self, study: OpenStudy) -> None:
        quiet = quiet_time(self._settings, study.calling_ae, study.rhythm)
        if quiet.reason != study.known_quiet_reason:
            self._explain(study, quiet)
        is_told = study.is_asked_for or study.procedure_agrees
        if not is_told and not self._is_due(study, quiet):
            return
        note_study_pixels(self._settings, self._database, study.run.study_id)
        found, source_agrees = self._findings(study, ask_source=not is_told)
        closing = self._closing(study, quiet, found, source_agrees=source_agrees)
        if closing is None:
            self._let_wait(study, found)
        else:
            self._close(study, closing)

    def _explain(self, study: OpenStudy, quiet: QuietTime) -> None:
        with self._database.transaction() as connection:
            record_quiet_time(connection, study.run, seconds=quiet.seconds, reason=quiet.reason)

    def _is_due(self, study: OpenStudy, quiet: QuietTime) -> bool:
        if study.quiet_seconds < quiet.seconds:
            return False
        checked = study.checked_seconds
        return checked is None or checked >= _LOOK_AGAIN_SECONDS or self._has_waited(study)

    def _has_waited(self, study: OpenStudy) -> bool:
        waited = study.waited_seconds
        return waited is not None and waited >= self._settings.incomplete_wait_seconds

    def _findings(self, study: OpenStudy, *, ask_source: bool) -> tuple[list[Finding], bool]:
        """What seems to be missing, and whether the source says that nothing is."""
        study_id = study.run.study_id
        with self._database.transaction() as connection:
            places = image_places(connection, study_id)
            announced = announced_instances(connection, study_id)
            steps = procedure_steps(connection, study.study_uid)
        source = self._ask_source(study, places) if ask_source else None
        found = findings(places, announced=announced, steps=steps, source=source)
        return found, source == []

    def _ask_source(self, study: OpenStudy, places: list[ImagePlace]) -> list[Finding] | None:
        return self._recount.compare(study.calling_ae, study.study_uid, places)

    def _closing(
        self, study: OpenStudy, quiet: QuietTime, found: list[Finding], *, source_agrees: bool
    ) -> Closing | None:
        """Why the study closes now; None when it should wait."""
        code, missing = (found[0].code, told_findings(found)) if found else ("", "")
        wait = self._settings.incomplete_wait_seconds
        if study.is_asked_for:
            return Closing("asked", "a person asked for it to be processed now", code, missing)
        if study.procedure_agrees:
            words = "the modality ended its procedure step, and all that it names is here"
            return Closing("procedure_step", words, code, missing)
        if found and not (self._has_waited(study) or wait == 0):
            return None
        if found:
            words = f"waited {spoken(wait)} for what is missing"
            return Closing("waited", words, code, missing)
        if source_agrees:
            return Closing("source_agrees", "quiet, and its source has no more of it")
        return Closing("quiet", f"quiet for {spoken(quiet.seconds)}: {quiet.reason}")

    def _let_wait(self, study: OpenStudy, found: list[Finding]) -> None:
        reason = told_findings(found)
        with self._database.transaction() as connection:
            record_waiting(
                connection,
                study.run,
                code=found[0].code,
                reason=reason,
                wait_seconds=self._settings.incomplete_wait_seconds,
            )
        if reason != study.known_reason:
            log.info("study_waits", run=str(study.run), code=found[0].code, reason=reason)

    def _close(self, study: OpenStudy, closing: Closing) -> None:
        last = None if study.is_asked_for else study.last_instance_at
        with self._database.transaction() as connection:
            if not close_study(connection, study.run, closing, last_instance_at=last):
                return
            self._learn(connection, study)
            duplicates = duplicates_of(connection, study.run.study_id)
        log.info(
            "study_closed",
            run=str(study.run),
            rule=closing.rule,
            missing=closing.missing_reason,
            duplicate_series=len(duplicates),
        )

    def _learn(self, connection: Connection, study: OpenStudy) -> None:
        _, longest = bounds(self._settings)
        pause = longest_pause(connection, study.run, longest_seconds=longest)
        if pause is not None:
            learn_pause(connection, study.calling_ae, pauses=pauses_with(pause), fading=FADING)
