"""Does what a new modality would do at a receiver, and says of each step whether it worked."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydicom import Dataset
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    SecondaryCaptureImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from deepbrainprint.intake.peer import Peer
from deepbrainprint.intake.sender_check import commitment_request, explanations
from deepbrainprint.intake.sender_check.check_object import check_object
from deepbrainprint.intake.sender_check.conversation import (
    conversation,
    require_success,
    status_of,
)
from deepbrainprint.intake.sender_check.explanations import Explanation, Refused, Unreachable
from deepbrainprint.intake.sender_check.transport import try_tcp, try_tls

_PENDING = frozenset({0xFF00, 0xFF01})  # PS3.4 Table C.4-1
_INDEXING_SECONDS = 5.0  # in which a receiver may still be registering what it has stored
_LOOK_AGAIN_SECONDS = 0.5
_NOT_OFFERED = "no_presentation_context"
_NOT_NEEDED = {
    "commitment": "Needed only where the modality waits for it before it deletes its images.",
    "query": "Needed only where the modality asks what has arrived. DeepBrainPrint offers it to "
    "senders that were admitted with --may-query.",
}


class Outcome(StrEnum):
    """How a step ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"  # not offered, or not tried


@dataclass(frozen=True)
class Finding:
    """What one step showed; `code` and `fix` are empty when all is well."""

    step: str
    outcome: Outcome
    words: str
    code: str = ""
    fix: str = ""
    seconds: float = 0.0


def check_sender(
    peer: Peer,
    *,
    report_port: int = 0,
    report_tls: ssl.SSLContext | None = None,
    report_seconds: float = 15.0,
) -> Iterator[Finding]:
    """Connect, echo, store, store again, ask for commitment, query; one finding after another.

    The receiver may report commitment to `report_port`; 0: on the same association only.
    """
    image = check_object()
    steps: dict[str, Callable[[], str]] = {
        "connection": lambda: _connect(peer),
        "TLS": lambda: _secure(peer),
        "echo": lambda: _echo(peer),
        "store": lambda: _store(peer, image),
        "store again": lambda: _store(peer, image),
        "commitment": lambda: _commit(peer, image, report_port, report_tls, report_seconds),
        "query": lambda: _find(peer, image),
    }
    if peer.tls is None:
        del steps["TLS"]
    stopped = False
    for step, work in steps.items():
        if stopped:
            yield Finding(step, Outcome.SKIPPED, "not tried", "not_tried")
            continue
        finding, stopped = _take(step, work)
        yield finding


def all_well(findings: list[Finding]) -> bool:
    """Whether a modality may be connected: all that it needs was tried and worked."""
    return all(
        finding.outcome is Outcome.OK
        or (finding.outcome is Outcome.SKIPPED and finding.code == _NOT_OFFERED)
        for finding in findings
    )


def _take(step: str, work: Callable[[], str]) -> tuple[Finding, bool]:
    """The finding of one step, and whether any further one is in vain."""
    started = time.monotonic()
    try:
        words, why, in_vain = work(), Explanation("", ""), False
    except Refused as refused:
        words, why, in_vain = refused.why.words, refused.why, _ends(step, refused)
    outcome = _outcome(step, why.code)
    fix = _NOT_NEEDED[step] if outcome is Outcome.SKIPPED else why.fix
    seconds = time.monotonic() - started
    return Finding(step, outcome, words, why.code, fix, round(seconds, 3)), in_vain


def _ends(step: str, refused: Refused) -> bool:
    """What cannot be stored cannot be stored again, committed or found either."""
    return isinstance(refused, Unreachable) or step == "store"


def _outcome(step: str, code: str) -> Outcome:
    if not code:
        return Outcome.OK
    optional = step in _NOT_NEEDED and code == _NOT_OFFERED
    return Outcome.SKIPPED if optional else Outcome.FAILED


def _connect(peer: Peer) -> str:
    try_tcp(peer.host, peer.port, patience_seconds=peer.connect_seconds)
    return f"{peer.host} answers on port {peer.port}"


def _secure(peer: Peer) -> str:
    assert peer.tls is not None  # noqa: S101 — the step is left out otherwise
    facts = try_tls(peer.host, peer.port, peer.tls, patience_seconds=peer.connect_seconds)
    until = f", certificate valid until {facts['certificate_ends']}"
    return f"{facts['version']} with {facts['suite']}{until if facts['certificate_ends'] else ''}"


def _echo(peer: Peer) -> str:
    with conversation(peer, Verification, "echo (Verification)") as association:
        require_success(association.send_c_echo(), peer)
    return f"{peer.called_ae} accepts {peer.calling_ae} and answers"


def _store(peer: Peer, image: Dataset) -> str:
    service = "Secondary Capture images"
    with conversation(peer, SecondaryCaptureImageStorage, service) as association:
        status = require_success(association.send_c_store(image), peer)
    warned = explanations.warning(status)
    return f"the test object is stored{f', but {warned}' if warned else ''}"


def _commit(
    peer: Peer, image: Dataset, port: int, tls: ssl.SSLContext | None, seconds: float
) -> str:
    commitment_request.commit(
        peer, image, report_port=port, report_tls=tls, patience_seconds=seconds
    )
    return "the receiver promises to keep the test object"


def _find(peer: Peer, image: Dataset) -> str:
    until = time.monotonic() + _INDEXING_SECONDS
    while not (found := _matches(peer, image)) and time.monotonic() < until:
        time.sleep(_LOOK_AGAIN_SECONDS)
    if not found:
        raise Refused(
            Explanation(
                "stored_but_not_found",
                "the receiver said that it stored the object, but C-FIND does not find its study",
                "Look into the receiver's log and quarantine: what it stores must be found.",
            )
        )
    return "C-FIND finds the study of the test object"


def _matches(peer: Peer, image: Dataset) -> int:
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.StudyInstanceUID = image.StudyInstanceUID
    query.PatientID = ""
    model: Any = StudyRootQueryRetrieveInformationModelFind
    with conversation(peer, model, "queries (C-FIND, study root)") as association:
        answers = [response for response, _ in association.send_c_find(query, model)]
    pending = [answer for answer in answers if "Status" in answer and answer.Status in _PENDING]
    final = answers[len(pending) :]
    if not final:
        status_of(Dataset())
    require_success(final[0], peer)
    return len(pending)
