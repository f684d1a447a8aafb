"""Which presentation contexts are accepted (DICOM PS3.8 §7.1.1.13, PS3.4 Annexes B, C, F, J)."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, build_context
from pynetdicom.presentation import PresentationContext

from deepbrainprint.intake.sop_classes import PRIVATE_STORAGE, RETIRED_STORAGE

VERIFICATION = "1.2.840.10008.1.1"
_DICOM_ROOT = "1.2.840.10008."
_MESSAGES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_STORAGE = frozenset(
    {
        *(str(context.abstract_syntax) for context in AllStoragePresentationContexts),
        *RETIRED_STORAGE,
        *PRIVATE_STORAGE,
    }
)
_SYNTAXES = frozenset(map(str, ALL_TRANSFER_SYNTAXES))


class AcceptedContexts:
    """What is offered to a sender.

    `services` are SOP classes other than storage; `is_storing` adds those. `any_private` takes
    every SOP class and transfer syntax outside DICOM's own numbers as storage, bytes as sent.
    """

    def __init__(
        self, services: Iterable[str], *, is_storing: bool = True, any_private: bool
    ) -> None:
        self._services = frozenset(services)
        self._storage = _STORAGE if is_storing else frozenset()
        self._any_private = is_storing and any_private

    def supported(self, requested: Iterable[PresentationContext]) -> list[PresentationContext]:
        """The contexts among those asked for that are taken, and with which transfer syntaxes."""
        wanted: dict[str, list[str]] = {}
        for context in requested:
            syntaxes = wanted.setdefault(str(context.abstract_syntax), [])
            syntaxes += [str(syntax) for syntax in context.transfer_syntax]
        taken = {uid: self._syntaxes(uid, syntaxes) for uid, syntaxes in wanted.items()}
        return [build_context(uid, syntaxes) for uid, syntaxes in taken.items() if syntaxes]

    def _syntaxes(self, abstract_syntax: str, offered: list[str]) -> list[str]:
        """Of several the first of ours is taken: one that writes the value representations."""
        if abstract_syntax in self._services:
            return [syntax for syntax in _MESSAGES if syntax in offered]
        if abstract_syntax not in self._storage and not self._is_welcome_private(abstract_syntax):
            return []
        known = [s for s in offered if s in _SYNTAXES or self._is_welcome_private(s)]
        return sorted(dict.fromkeys(known), key=lambda uid: uid != ExplicitVRLittleEndian)

    def _is_welcome_private(self, uid: str) -> bool:
        return self._any_private and not uid.startswith(_DICOM_ROOT)


def is_storage(abstract_syntax: str) -> bool:
    """Whether instances may come on a context of this SOP class, which was accepted."""
    return abstract_syntax in _STORAGE or not abstract_syntax.startswith(_DICOM_ROOT)
