"""Who may come in and what is offered beside storage; where the pieces of intake meet the door."""

from __future__ import annotations

import ssl

from deepbrainprint.database.connection import Database
from deepbrainprint.errors import BadStudy, Misconfigured
from deepbrainprint.intake.listener.association import Reject, StreamingAssociation
from deepbrainprint.intake.listener.contexts import VERIFICATION, AcceptedContexts
from deepbrainprint.settings import Settings


class Services:
    """The services of one receiving process."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._contexts = AcceptedContexts(
            [VERIFICATION], any_private=settings.accept_private_storage
        )

    def receive(self, association: StreamingAssociation) -> Reject | None:
        """Admit a sender and set the association up, or say why not."""
        requested = association.requestor.requested_contexts
        association.acceptor.supported_contexts = self._contexts.supported(requested)
        return None

    def quarantine_why(self, association: StreamingAssociation) -> BadStudy | None:  # noqa: ARG002
        """Why what this sender sends is kept aside, or None."""
        return None

    def tls_context(self) -> ssl.SSLContext:
        """How connections to the encrypted port are secured."""
        raise Misconfigured("no certificate")

    def closed(self, association: StreamingAssociation) -> None:
        """An association has ended."""

    def close(self) -> None:
        """End what runs beside the associations."""
