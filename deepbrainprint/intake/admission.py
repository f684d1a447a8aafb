"""Who may open an association: decided from titles and address, before anything is received."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

import structlog

from deepbrainprint.database.connection import Database
from deepbrainprint.database.senders import (
    NoticedSender,
    record_noticed,
    sender_rulings,
)
from deepbrainprint.errors import BadStudy, DeepBrainPrintError
from deepbrainprint.intake.sender_list import (
    SenderList,
    command_to_admit,
    is_loopback,
    plain_address,
    printable_title,
)
from deepbrainprint.settings import Settings

log = structlog.get_logger()

Reject = tuple[int, int, int]  # result, source and reason of an A-ASSOCIATE-RJ, PS3.8 Table 9-21
CALLING_AE_NOT_RECOGNISED: Reject = (1, 1, 3)
CALLED_AE_NOT_RECOGNISED: Reject = (1, 1, 7)
TEMPORARY_CONGESTION: Reject = (2, 3, 1)

# PS3.7 §9.1.1.1.9, the answer to each object that is kept aside for want of an admission. It is
# final: a transient refusal (0xA7xx) would make the sender repeat until somebody decides.
NOT_AUTHORISED = 0x0124

_REFRESH_SECONDS = 2.0
_NOTICED_AT_ONCE = 500
_OUTCOMES = {"refuse": "refused", "quarantine": "quarantined", "accept": "accepted"}


@dataclass(frozen=True)
class Ruling:
    """What is to be done with one association request."""

    admitted: bool
    code: str = ""  # why not, or on which ground; empty for a sender that a person admitted
    words: str = ""
    reject: Reject | None = None
    quarantine: bool = False  # keep every object aside and answer NOT_AUTHORISED
    may_query: bool = False  # C-FIND may be offered
    verification_only: bool = False  # C-ECHO and nothing else


_ADMITTED = Ruling(admitted=True)
_HEALTH_CHECK = Ruling(admitted=True, code="own_health_check", verification_only=True)
_UNREAD = Ruling(
    admitted=False,
    code="senders_unread",
    words="the list of admitted senders cannot be read yet: start PostgreSQL, then send again",
    reject=TEMPORARY_CONGESTION,
)


class Admission:
    """Decides for one process who may send. Thread-safe; enter it after any fork.

    What people rule is followed within seconds. The last known list is kept in a file of the home
    folder, so that a restart while PostgreSQL is away still knows its senders.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._file = settings.home / "senders.json"
        self._kept = ""
        self._senders: SenderList | None = None
        self._noticed: dict[tuple[str, str, str], NoticedSender] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tend, name="admission", daemon=True)
        self._trouble = ""

    def __enter__(self) -> Self:
        self._recall()
        self.refresh()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.refresh()

    def decide(self, *, calling_ae: str, called_ae: str, address: str) -> Ruling:
        """Rule on an association request; never waits for disk or database.

        Titles and address are taken as they came; a log line says of every sender that no person
        admitted what became of it.
        """
        title, host = printable_title(calling_ae), plain_address(address)
        ruling = self._rule(title, called_ae.strip(" \0"), host)
        if ruling.code and not ruling.verification_only:
            self._notice(ruling, title, printable_title(called_ae), host)
        return ruling

    def refresh(self) -> None:
        """Read the list anew and record who was noticed; with PostgreSQL away the old one stays."""
        try:
            with self._database.transaction() as connection:
                senders = SenderList(tuple(sender_rulings(connection)))
            self._senders = senders
            self._keep(senders)
            self._record_noticed()
        except DeepBrainPrintError as error:
            self._note(error.code, str(error))
        else:
            self._note("")

    def _tend(self) -> None:
        while not self._stop.wait(_REFRESH_SECONDS):
            self.refresh()

    def _rule(self, title: str, called_ae: str, address: str) -> Ruling:
        known = self._senders and self._senders.ruling_on(title, address)
        ours = self._settings.ae_title
        if not (known and known.admitted) and title == ours and is_loopback(address):
            return _HEALTH_CHECK
        if self._settings.require_called_ae and called_ae != ours:
            return _wrong_title(ours)
        if known:
            return replace(_ADMITTED, may_query=known.may_query) if known.admitted else _denied()
        return self._rule_on_unknown(title, address)

    def _rule_on_unknown(self, title: str, address: str) -> Ruling:
        mode = self._settings.unknown_senders
        if self._senders is None and mode != "accept":
            return _UNREAD
        elsewhere = self._senders is not None and self._senders.admits_elsewhere(title)
        return Ruling(
            admitted=mode != "refuse",
            code="other_address" if elsewhere else "unknown_sender",
            words=_how_to_admit(title, address, elsewhere=elsewhere),
            reject=CALLING_AE_NOT_RECOGNISED if mode == "refuse" else None,
            quarantine=mode == "quarantine",
            may_query=mode == "accept",
        )

    def _notice(self, ruling: Ruling, title: str, called_ae: str, address: str) -> None:
        outcome = _OUTCOMES[self._settings.unknown_senders] if ruling.admitted else "refused"
        log.warning(
            "association_refused" if outcome == "refused" else "sender_not_admitted",
            ae=title,
            address=address,
            outcome=outcome,
            code=ruling.code,
            reason=ruling.words,
        )
        if ruling is _UNREAD:
            return
        now = datetime.now(UTC)
        fresh = NoticedSender(title, address, ruling.code, outcome, called_ae, 1, now, now)
        with self._lock:
            self._count(fresh)

    def _count(self, fresh: NoticedSender) -> None:
        key = fresh.calling_ae, fresh.address, fresh.reason_code
        before = self._noticed.get(key)
        if before is not None:
            newer = max(before, fresh, key=lambda one: one.last_at)
            first = min(before.first_at, fresh.first_at)
            fresh = replace(newer, times=before.times + fresh.times, first_at=first)
        elif len(self._noticed) >= _NOTICED_AT_ONCE:
            return  # a scan of the port; the log has them all
        self._noticed[key] = fresh

    def _record_noticed(self) -> None:
        with self._lock:
            waiting, self._noticed = list(self._noticed.values()), {}
        if not waiting:
            return
        try:
            with self._database.transaction() as connection:
                record_noticed(connection, waiting)
        except DeepBrainPrintError:
            with self._lock:
                for one in waiting:
                    self._count(one)
            raise

    def _recall(self) -> None:
        """Begin with the list of the last run."""
        try:
            self._kept = self._file.read_text("utf-8")
            self._senders = SenderList.from_json(self._kept)
        except FileNotFoundError:  # the first start
            return
        except (OSError, ValueError) as error:
            log.warning("senders_not_recalled", error=type(error).__name__)

    def _keep(self, senders: SenderList) -> None:
        text = senders.to_json()
        if text == self._kept:
            return
        try:
            _replace_text(self._file, text)
        except OSError as error:
            log.warning("senders_not_kept", reason=error.strerror)
            return
        self._kept = text

    def _note(self, code: str, reason: str = "") -> None:
        """Trouble is logged when it comes and when it goes."""
        if code and code != self._trouble:
            log.warning("senders_not_read", code=code, reason=reason)
        elif self._trouble and not code:
            log.info("senders_read_again", after=self._trouble)
        self._trouble = code


def not_authorised(ruling: Ruling) -> BadStudy:
    """Why an object of a sender in quarantine mode is kept aside; its code is `unknown_sender`."""
    return BadStudy(ruling.words, code="unknown_sender")


def _denied() -> Ruling:
    return Ruling(
        admitted=False,
        code="denied_sender",
        words="a person denied this sender: `deepbrainprint admit` would undo it",
        reject=CALLING_AE_NOT_RECOGNISED,
    )


def _wrong_title(ours: str) -> Ruling:
    return Ruling(
        admitted=False,
        code="wrong_called_ae",
        words=f"it calls another AE title: set {ours} as the called title at the sender, or set "
        "DBP_REQUIRE_CALLED_AE=false",
        reject=CALLED_AE_NOT_RECOGNISED,
    )


def _how_to_admit(title: str, address: str, *, elsewhere: bool) -> str:
    command = command_to_admit(title, address)
    if not command:
        return "its AE title cannot be admitted: give the sender one of 1 to 16 printable letters"
    why = "admitted at another address only" if elsewhere else "nobody admitted this sender"
    return f"{why}; to admit it: {command}"


def _replace_text(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}-{uuid4().hex}")
    try:
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
