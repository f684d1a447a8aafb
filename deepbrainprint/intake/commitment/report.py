"""Reports on storage commitment requests (DICOM PS3.4 J.3.3), offered until they are taken."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import structlog
from pydicom import Dataset
from pynetdicom import AE, build_context, build_role

from deepbrainprint.database.commitments import (
    ClaimedCommitment,
    CommitmentState,
    Outcome,
    claim_commitment,
    commitment_address,
    end_commitment,
    postpone_commitment,
)
from deepbrainprint.database.connection import Database
from deepbrainprint.errors import DeepBrainPrintError, TryAgain
from deepbrainprint.intake.commitment.check import check, event_report
from deepbrainprint.intake.logs import place_of
from deepbrainprint.intake.part10 import IMPLEMENTATION_CLASS_UID
from deepbrainprint.settings import Settings

log = structlog.get_logger()

PUSH_MODEL = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"  # PS3.4 J.3.5: the one well-known instance

_LOOK_SECONDS = 2.0  # other processes take requests too, and attempts become due
_LEASE_SECONDS = 180.0  # longer than reading the files of a study and offering its report
_LONGEST_PAUSE_SECONDS = 3600.0
_JOURNAL_PAUSE_SECONDS = 2.0
_QUIET_SECONDS = 0.3  # a requester that waits for its report on its association says nothing
_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 30.0

_NOT_TAKEN_HERE = "the requester did not wait on its association"

_Send = Callable[[int, Dataset], str]  # event type and information; why it was not taken, or ""


class OpenAssociation(Protocol):
    """What an association offers so that a report may go out on it (beside pynetdicom's own)."""

    def call_soon(self, function: Callable[[], None]) -> None:
        """Run a function in the association's thread once the request in hand was answered."""

    def is_quiet(self, seconds: float) -> bool:
        """Whether it is established and the peer sends nothing for so long."""

    def send_n_event_report(
        self, dataset: Dataset, event_type: int, class_uid: str, instance_uid: str
    ) -> tuple[Dataset, Dataset | None]:
        """The status of the peer's answer; empty when there is none."""


@dataclass(frozen=True)
class _Peer:
    ae_title: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.ae_title} at {self.host}:{self.port}"


class CommitmentReporter:
    """A thread that reports what is due. Several processes may each run one."""

    def __init__(
        self, settings: Settings, database: Database, *, lease_seconds: float = _LEASE_SECONDS
    ) -> None:
        self._settings = settings
        self._database = database
        self._lease_seconds = lease_seconds
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commitment", daemon=True)
        self._trouble = ""

    def start(self) -> None:
        """Begin to report, with what an earlier process left."""
        self._thread.start()

    def stop(self) -> None:
        """End after the report in hand; the rest is in the database."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_CONNECT_SECONDS + _ANSWER_SECONDS)

    def wake(self) -> None:
        """Look now for what is due."""
        self._wake.set()

    def report_next(self) -> bool:
        """Report on one request that is due, on a new association; False when none is.

        TryAgain when PostgreSQL is away.
        """
        claimed = self._claim()
        if claimed is None:
            return False
        trouble = self._report(claimed, partial(self._send_anew, claimed))
        if trouble:
            self._try_later(claimed, trouble)
        return True

    def report_on_association(self, association: OpenAssociation, unreported: list[int]) -> None:
        """Report on requests of an association while its peer waits there.

        Runs in that association's thread. Of a peer that goes on talking, or leaves, the requests
        stay in `unreported`; whatever is not taken here is offered on a new association.
        """
        try:
            while unreported and association.is_quiet(_QUIET_SECONDS):
                self._report_here(association, unreported.pop(0))
            for commitment_id in unreported:
                self._leave_to_thread(commitment_id)
        except DeepBrainPrintError as error:
            log.warning("commitment_waits", code=error.code, reason=str(error))
        finally:
            self.wake()

    def _report_here(self, association: OpenAssociation, commitment_id: int) -> None:
        claimed = self._claim(commitment_id)
        if claimed is None:
            return
        trouble = _NOT_TAKEN_HERE
        try:
            trouble = self._report(claimed, partial(_send_here, association))
        finally:
            if trouble:
                self._postpone(claimed, 0.0, trouble)

    def _leave_to_thread(self, commitment_id: int) -> None:
        with self._database.transaction() as connection:
            postpone_commitment(connection, commitment_id, delay_seconds=0.0)

    def _claim(self, commitment_id: int | None = None) -> ClaimedCommitment | None:
        with self._database.transaction() as connection:
            return claim_commitment(
                connection, lease_seconds=self._lease_seconds, commitment_id=commitment_id
            )

    def _report(self, claimed: ClaimedCommitment, send: _Send) -> str:
        """Check and send; why the report was not taken, or nothing."""
        try:
            checked = check(self._settings, self._database, claimed)
        except TryAgain as error:
            if error.code != "journal_waits":
                raise
            self._postpone(claimed, _JOURNAL_PAUSE_SECONDS, str(error))
            return ""
        trouble = send(*event_report(claimed, checked))
        if not trouble:
            self._end(claimed, CommitmentState.REPORTED)
            committed = sum(outcome is Outcome.COMMITTED for _, outcome in checked)
            log.info(
                "commitment_reported",
                commitment=claimed.commitment_id,
                ae=claimed.requesting_ae,
                committed=committed,
                failed=len(checked) - committed,
                attempts=claimed.attempts,
            )
        return trouble

    def _try_later(self, claimed: ClaimedCommitment, trouble: str) -> None:
        if claimed.age_seconds > self._settings.commitment_hours * 3600:
            self._end(claimed, CommitmentState.GIVEN_UP, trouble)
            log.error("commitment_given_up", commitment=claimed.commitment_id, reason=trouble)
            return
        pause = self._settings.commitment_retry_seconds * 2.0 ** min(claimed.attempts - 1, 30)
        self._postpone(claimed, min(pause, _LONGEST_PAUSE_SECONDS), trouble)
        log.warning("commitment_not_taken", commitment=claimed.commitment_id, reason=trouble)

    def _postpone(self, claimed: ClaimedCommitment, delay_seconds: float, error: str) -> None:
        with self._database.transaction() as connection:
            postpone_commitment(
                connection, claimed.commitment_id, delay_seconds=delay_seconds, error=error
            )

    def _end(self, claimed: ClaimedCommitment, state: CommitmentState, error: str = "") -> None:
        with self._database.transaction() as connection:
            end_commitment(connection, claimed.commitment_id, state, error=error)

    def _send_anew(self, claimed: ClaimedCommitment, event_type: int, report: Dataset) -> str:
        with self._database.transaction() as connection:
            address = commitment_address(connection, claimed.requesting_ae)
        host, port = address or (claimed.address, self._settings.commitment_port)
        return _send_to(
            _Peer(claimed.requesting_ae, host, port), self._settings.ae_title, event_type, report
        )

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            if not self._report_safely():
                self._wake.wait(_LOOK_SECONDS)

    def _report_safely(self) -> bool:
        try:
            is_reported = self.report_next()
        except DeepBrainPrintError as error:
            if error.code != self._trouble:
                log.warning("commitment_waits", code=error.code, reason=str(error))
            self._trouble = error.code
            return False
        except Exception as error:  # noqa: BLE001 — one report must not end the others
            log.error("commitment_failed", error=type(error).__name__, place=place_of(error))  # noqa: TRY400
            return False
        self._trouble = ""
        return is_reported


def _send_here(association: Any, event_type: int, report: Dataset) -> str:
    if not association.is_quiet(0.0):  # reading the files took time
        return _NOT_TAKEN_HERE
    status, _ = association.send_n_event_report(report, event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    return _trouble_of("the requester", status)


def _send_to(peer: _Peer, our_ae_title: str, event_type: int, report: Dataset) -> str:
    try:
        association = _entity(our_ae_title).associate(
            peer.host,
            peer.port,
            contexts=[build_context(PUSH_MODEL)],
            ext_neg=[build_role(PUSH_MODEL, scp_role=True)],  # PS3.4 J.3.3: we stay the SCP
            ae_title=peer.ae_title,
        )
    except (ValueError, TypeError, OSError):
        return f"{peer} cannot be an address: correct it with `deepbrainprint commitment address`"
    if not association.is_established:
        return _refusal(association, peer, our_ae_title)
    try:
        status, _ = association.send_n_event_report(
            report, event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE
        )
        association.release()
    except (RuntimeError, ValueError):  # the peer left, or took the context in another role
        return f"{peer} takes no storage commitment report: enable that there"
    finally:
        if association.is_established:
            association.abort()
    return _trouble_of(str(peer), status)


def _entity(ae_title: str) -> AE:
    entity = AE(ae_title=ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.connection_timeout = _CONNECT_SECONDS
    entity.acse_timeout = _CONNECT_SECONDS
    entity.dimse_timeout = _ANSWER_SECONDS
    entity.network_timeout = _ANSWER_SECONDS
    return entity


def _refusal(association: Any, peer: _Peer, our_ae_title: str) -> str:
    if association.is_rejected:
        return f"{peer} refuses associations of {our_ae_title}: make that AE title known there"
    if association.acceptor.primitive is not None:
        return f"{peer} takes no storage commitment report: enable that there"
    return (
        f"{peer} does not answer: start it, or say where it listens with "
        f"`deepbrainprint commitment address {peer.ae_title} HOST PORT`"
    )


def _trouble_of(name: str, status: Dataset) -> str:
    if "Status" not in status:
        return f"{name} did not answer the report"
    if status.Status != 0x0000:
        return f"{name} answered the report with status 0x{status.Status:04X}: see its log"
    return ""
