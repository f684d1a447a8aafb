"""Which rulings say what of a sender: AE titles (PS3.5 §6.2) and IP networks."""

from __future__ import annotations

import ipaddress
import json
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self, TypeAlias

from deepbrainprint.database.senders import SenderRuling

ANY = "any"

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_ODD = re.compile(r"[^ -\[\]-~]")  # neither control characters nor backslash, PS3.5 Table 6.2-1
_LONGEST = 16


@dataclass(frozen=True)
class SenderList:
    """Rulings, newest first. The newest one that covers AE title and address counts."""

    rulings: tuple[SenderRuling, ...] = ()

    def ruling_on(self, calling_ae: str, address: str) -> SenderRuling | None:
        """What counts for this sender, or None when nothing was said of it."""
        host = _host(address)
        return next((r for n, r in self._by_title.get(calling_ae, ()) if _covers(n, host)), None)

    def admits_elsewhere(self, calling_ae: str) -> bool:
        """Whether the AE title may send, be it from another address."""
        return any(r.admitted for r in self.standing if r.calling_ae == calling_ae)

    @cached_property
    def standing(self) -> tuple[SenderRuling, ...]:
        """Without what newer rulings have overtaken."""
        return tuple(r for kept in self._by_title.values() for _, r in kept)

    @cached_property
    def _by_title(self) -> dict[str, list[tuple[_Network | None, SenderRuling]]]:
        found: dict[str, list[tuple[_Network | None, SenderRuling]]] = {}
        for ruling in self.rulings:
            kept = found.setdefault(ruling.calling_ae, [])
            network = None if ruling.network == ANY else ipaddress.ip_network(ruling.network)
            if not any(_contains(newer, network) for newer, _ in kept):
                kept.append((network, ruling))
        return found

    def to_json(self) -> str:
        """What decides, for a file: titles and networks, no notes."""
        rows = [[r.calling_ae, r.network, r.admitted, r.may_query] for r in self.standing]
        return json.dumps(rows, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote; ValueError when it is something else."""
        rows = json.loads(text)
        if not isinstance(rows, list):
            raise ValueError("not a list of senders")  # noqa: TRY004 — of the text, as json's own
        try:
            senders = cls(tuple(SenderRuling(*row) for row in rows))
            _ = senders.standing
        except (TypeError, AttributeError) as error:
            raise ValueError("not a list of senders") from error
        return senders


def printable_title(text: str) -> str:
    """An AE title as it was sent, odd characters escaped, so that it can be shown anywhere."""
    return _ODD.sub(lambda found: f"\\x{ord(found[0]):02x}", text.strip(" \0"))


def valid_title(text: str) -> str:
    """The AE title without padding; ValueError when none can be so."""
    title = text.strip()
    if not 1 <= len(title) <= _LONGEST or _ODD.search(title):
        raise ValueError("an AE title has 1 to 16 printable ASCII characters and no backslash")
    return title


def valid_network(text: str) -> str:
    """An address or network in its usual form, or `any`; ValueError when it is neither."""
    if text.strip().lower() in {"", ANY}:
        return ANY
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r} is no IP address or network: write 10.1.2.3, 10.1.2.0/24 or any"
        ) from None
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def command_to_admit(calling_ae: str, address: str, *, options: Iterable[str] = ()) -> str:
    """The line that admits a sender, to be pasted into a shell; empty when no title is valid."""
    try:
        valid_title(calling_ae)
    except ValueError:
        return ""
    words = ["deepbrainprint", "admit"]
    if address:
        words += ["--address", address]
    words += options
    return shlex.join([*words, *(["--"] if calling_ae.startswith("-") else []), calling_ae])


def plain_address(address: str) -> str:
    """An IP address as people write it: IPv4 that came through an IPv6 socket is IPv4."""
    host = _host(address)
    return printable_title(address) if host is None else str(host)


def is_loopback(address: str) -> bool:
    """Whether the connection came from this machine by its loopback interface."""
    host = _host(address)
    return host is not None and host.is_loopback


def _host(address: str) -> _Address | None:
    try:
        host = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(host, "ipv4_mapped", None) or host


def _covers(network: _Network | None, host: _Address | None) -> bool:
    return network is None or (host is not None and host in network)


def _contains(wide: _Network | None, narrow: _Network | None) -> bool:
    if wide is None or narrow is None:
        return wide is None
    if isinstance(wide, ipaddress.IPv4Network):
        return isinstance(narrow, ipaddress.IPv4Network) and narrow.subnet_of(wide)
    return isinstance(narrow, ipaddress.IPv6Network) and narrow.subnet_of(wide)
