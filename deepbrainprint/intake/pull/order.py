"""What a pull is told: where to fetch, how, when and how fast. Kept with it, without secrets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from deepbrainprint.database.pulls import Terms
from deepbrainprint.errors import Misconfigured
from deepbrainprint.intake.peer import Peer
from deepbrainprint.intake.pull.association import ANSWER_SECONDS, quieten_libraries
from deepbrainprint.intake.pull.dicomweb import WebSource
from deepbrainprint.intake.pull.retrieval import GetSource, MoveSource
from deepbrainprint.intake.pull.source import Source
from deepbrainprint.intake.pull.window import Window
from deepbrainprint.intake.tls import client_context
from deepbrainprint.settings import Settings


class Way(StrEnum):
    """How studies are fetched."""

    GET = "get"
    MOVE = "move"
    WEB = "web"


@dataclass(frozen=True, kw_only=True)
class Order:
    """The terms of a pull."""

    way: Way
    source: str  # AE title that what comes is filed under
    host: str = ""
    port: int = 0
    tls: bool = False
    url: str = ""
    modalities: tuple[str, ...] = ("MR",)
    window: str = ""
    rate: float | None = None  # instances a second
    studies_per_hour: float | None = None
    attempts: int = 5

    def terms(self) -> Terms:
        """As the database keeps them."""
        options = asdict(self)
        return Terms(options.pop("source"), options.pop("way"), options)

    @classmethod
    def of(cls, terms: Terms) -> Self:
        """Back from the database."""
        options: dict[str, Any] = dict(terms.options)
        options["modalities"] = tuple(options["modalities"])
        return cls(source=terms.source, way=Way(terms.protocol), **options)

    def opening_hours(self) -> Window | None:
        """When the PACS may be asked; None is always."""
        return Window.parse(self.window) if self.window else None


def source_of(order: Order, settings: Settings) -> Source:
    """The PACS of an order. Misconfigured when it cannot be asked as it is set."""
    quieten_libraries()
    tls = client_context(settings) if order.tls else None
    if order.way is Way.WEB:
        return WebSource(order.url, name=order.source, token=_token(settings), tls=tls)
    peer = Peer(
        order.host,
        order.port,
        called_ae=order.source,
        calling_ae=settings.ae_title,
        tls=tls,
        answer_seconds=ANSWER_SECONDS,
    )
    return GetSource(peer) if order.way is Way.GET else MoveSource(peer)


def _token(settings: Settings) -> str:
    if settings.pull_token_file is None:
        return settings.pull_token.get_secret_value()
    try:
        return settings.pull_token_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(
            "DBP_PULL_TOKEN_FILE cannot be read: correct its path or its rights",
            code="no_token_file",
        ) from None
