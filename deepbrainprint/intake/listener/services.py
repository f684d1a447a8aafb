"""Who may come in and what is offered beside storage; where the pieces of intake meet the door."""

from __future__ import annotations

import ssl
import threading
from contextlib import ExitStack

from pynetdicom import evt

from deepbrainprint.database.connection import Database
from deepbrainprint.errors import BadStudy, Misconfigured
from deepbrainprint.intake.admission import Admission, Reject, Ruling, not_authorised
from deepbrainprint.intake.commitment.desk import CommitmentDesk
from deepbrainprint.intake.commitment.report import PUSH_MODEL, CommitmentReporter
from deepbrainprint.intake.finding.scp import STUDY_ROOT_FIND, FindScp
from deepbrainprint.intake.listener.association import StreamingAssociation
from deepbrainprint.intake.listener.contexts import VERIFICATION, AcceptedContexts
from deepbrainprint.intake.procedure_steps import ProcedureSteps
from deepbrainprint.intake.tls import ServerTls
from deepbrainprint.settings import Settings

_PROCEDURE_STEP = "1.2.840.10008.3.1.2.3.3"  # Modality Performed Procedure Step


class Services:
    """The services of one receiving process."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._tls = ServerTls(settings)
        self._rulings: dict[StreamingAssociation, Ruling] = {}
        self._lock = threading.Lock()
        self._contexts = _contexts_by_right(any_private=settings.accept_private_storage)
        self._ending = ExitStack()
        self._admission = self._ending.enter_context(Admission(settings, database))
        reporter = CommitmentReporter(settings, database)
        reporter.start()
        self._ending.callback(reporter.stop)
        finding, steps = FindScp(settings, database), ProcedureSteps(database)
        self._handlers = [
            (evt.EVT_C_FIND, finding.find),
            (evt.EVT_SOP_EXTENDED, finding.negotiate),
            (evt.EVT_N_ACTION, CommitmentDesk(database, reporter).handler),
            (evt.EVT_N_CREATE, steps.create),
            (evt.EVT_N_SET, steps.set),
        ]

    def receive(self, association: StreamingAssociation) -> Reject | None:
        """Admit a sender and set the association up, or say why not."""
        story = association.story
        ruling = self._admission.decide(
            calling_ae=story.calling_ae, called_ae=story.called_ae, address=story.address
        )
        if ruling.reject is not None:
            story.reason_code = ruling.code
            return ruling.reject
        with self._lock:
            self._rulings[association] = ruling
        requested = association.requestor.requested_contexts
        association.acceptor.supported_contexts = self._contexts[_right(ruling)].supported(
            requested
        )
        for event, handler in self._handlers:
            association.bind(event, handler)
        return None

    def quarantine_why(self, association: StreamingAssociation) -> BadStudy | None:
        """Why what this sender sends is kept aside, or None."""
        ruling = self._rulings[association]
        return not_authorised(ruling) if ruling.quarantine else None

    def tls_context(self) -> ssl.SSLContext:
        """How connections to the encrypted port are secured."""
        context = self._tls.context()
        if context is None:
            raise Misconfigured("DBP_TLS_CERTIFICATE is not set", code="no_certificate")
        return context

    def closed(self, association: StreamingAssociation) -> None:
        """An association has ended."""
        with self._lock:
            self._rulings.pop(association, None)

    def close(self) -> None:
        """End what runs beside the associations."""
        self._ending.close()


def _contexts_by_right(*, any_private: bool) -> dict[str, AcceptedContexts]:
    sending = [VERIFICATION, PUSH_MODEL, _PROCEDURE_STEP]
    return {
        "verify": AcceptedContexts([VERIFICATION], is_storing=False, any_private=False),
        "send": AcceptedContexts(sending, is_storing=True, any_private=any_private),
        "query": AcceptedContexts(
            [*sending, STUDY_ROOT_FIND], is_storing=True, any_private=any_private
        ),
    }


def _right(ruling: Ruling) -> str:
    if ruling.verification_only:
        return "verify"
    return "query" if ruling.may_query else "send"
