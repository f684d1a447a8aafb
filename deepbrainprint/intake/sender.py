"""The sending side of DICOM storage (C-STORE SCU, PS3.4 Annex B): files go out as they are."""

from __future__ import annotations

import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom import _config
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from deepbrainprint.errors import BadStudy, TryAgain
from deepbrainprint.intake.peer import Peer

Syntax = tuple[str, str]  # SOP class UID, transfer syntax UID

CONTEXTS_PER_ASSOCIATION = 128  # context ids are odd bytes, PS3.8 section 9.3.2.2
SOP_CLASS_NOT_SUPPORTED = 0x0122  # PS3.7 Annex C
WARNINGS = range(0xB000, 0xC000)  # stored all the same, PS3.4 table B.2-1

# pynetdicom decodes and re-encodes what it sends unless this process-wide switch is on
_config.STORE_SEND_CHUNKED_DATASET = True


@dataclass(frozen=True)
class SendReport:
    """What the receiver answered: one DIMSE status per file, in the order given."""

    statuses: tuple[int, ...]
    seconds: float

    @property
    def stored(self) -> int:
        """How many instances the receiver took, with or without a warning."""
        return len(self.statuses) - sum(self.failures.values())

    @property
    def failures(self) -> dict[int, int]:
        """How often each status came back that is neither success nor warning."""
        return dict(Counter(code for code in self.statuses if code and code not in WARNINGS))

    def __str__(self) -> str:
        text = f"{self.stored} of {len(self.statuses)} instances stored"
        refused = ", ".join(f"{count} × 0x{code:04X}" for code, count in self.failures.items())
        return f"{text}; refused: {refused}" if refused else text


def send(  # noqa: PLR0913 - the address of an association has four parts
    files: Sequence[Path],
    *,
    host: str,
    port: int,
    called_ae: str = "DEEPBRAINPRINT",
    calling_ae: str = "SIMULATOR",
    tls: ssl.SSLContext | None = None,
    rate: float | None = None,
    report: Callable[[int, int], None] | None = None,
) -> SendReport:
    """Send DICOM files by C-STORE, byte for byte, at most `rate` a second; in TLS with `tls`.

    `report(sent, total)` is called after each instance. A refusal by status is counted in the
    result; TryAgain if the receiver cannot be reached, refuses the association or stops answering;
    BadStudy for a file that is not DICOM; Misconfigured for an impossible title, host or port.
    """
    started = time.monotonic()
    statuses: list[int] = []
    receiver = Peer(host, port, called_ae, calling_ae, tls)
    for status in _statuses(files, receiver):
        statuses.append(status)
        if report is not None:
            report(len(statuses), len(files))
        if rate:
            time.sleep(max(0.0, started + len(statuses) / rate - time.monotonic()))
    return SendReport(tuple(statuses), time.monotonic() - started)


def _statuses(files: Sequence[Path], receiver: Peer) -> Iterator[int]:
    """One status per file; a new association whenever the contexts of one are used up."""
    syntaxes = [_syntax(path, number) for number, path in enumerate(files, start=1)]
    for block in _blocks(syntaxes):
        with _association(receiver, syntaxes[block]) as association:
            yield from _block_statuses(association, receiver, files[block], syntaxes[block])


def _block_statuses(
    association: Association,
    receiver: Peer,
    files: Sequence[Path],
    syntaxes: Sequence[Syntax],
) -> Iterator[int]:
    accepted = {
        (str(context.abstract_syntax), str(context.transfer_syntax[0]))
        for context in association.accepted_contexts
    }
    for number, (path, syntax) in enumerate(zip(files, syntaxes, strict=True)):
        if syntax in accepted:
            yield _answer(association, receiver, path, number)
        else:
            yield SOP_CLASS_NOT_SUPPORTED


def _answer(association: Association, receiver: Peer, path: Path, number: int) -> int:
    """The status of one C-STORE; TryAgain when none comes back."""
    lost = TryAgain(
        f"{receiver} stopped answering after {number} instances; check it and send again",
        code="receiver_stopped_answering",
    )
    if not association.is_established:
        raise lost
    response = association.send_c_store(path, msg_id=number % 0xFFFF + 1)
    if "Status" not in response:
        raise lost
    return int(response.Status)


def _syntax(path: Path, number: int) -> Syntax:
    """SOP class and transfer syntax of a file, from its meta information (PS3.10 section 7.1)."""
    try:
        meta = read_file_meta_info(path)
        return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
    except (InvalidDicomError, AttributeError, EOFError) as error:
        raise BadStudy(
            f"file {number} of those to send is not a DICOM file; leave it out",
            code="not_a_dicom_file",
        ) from error


def _blocks(syntaxes: Sequence[Syntax]) -> Iterator[slice]:
    """Runs of files that share one association's presentation contexts."""
    start, seen = 0, set[Syntax]()
    for number, syntax in enumerate(syntaxes):
        if syntax not in seen and len(seen) == CONTEXTS_PER_ASSOCIATION:
            yield slice(start, number)
            start, seen = number, set()
        seen.add(syntax)
    if seen:
        yield slice(start, len(syntaxes))


@contextmanager
def _association(receiver: Peer, syntaxes: Sequence[Syntax]) -> Iterator[Association]:
    """An association that is released, or aborted when something goes wrong."""
    association = _associate(receiver, syntaxes)
    try:
        yield association
        association.release()
    finally:
        if association.is_established:
            association.abort()


def _associate(receiver: Peer, syntaxes: Sequence[Syntax]) -> Association:
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in dict.fromkeys(syntaxes)]
    association = receiver.associate(contexts)
    if not association.is_established:
        raise TryAgain(_refusal(association, receiver), code="no_association")
    return association


def _refusal(association: Association, receiver: Peer) -> str:
    """Why there is no association, in one line."""
    if association.is_rejected:
        return (
            f"{receiver} refused the association from AE {receiver.calling_ae}; check both titles"
        )
    if association.acceptor.primitive is not None:
        return f"{receiver} accepts none of these object types; check what it stores"
    return f"no DICOM receiver answers at {receiver}; start it or correct host and port"
