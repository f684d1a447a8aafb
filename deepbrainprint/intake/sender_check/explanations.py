"""What DICOM's numbers mean to the person at the scanner: the cause, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Explanation:
    """A cause with a stable code, in words, and its fix in words."""

    code: str
    words: str
    fix: str = ""

    def about(self, **facts: object) -> Explanation:
        """The same with the facts of the case filled in."""
        words, fix = self.words.format_map(facts), self.fix.format_map(facts)
        return replace(self, words=words, fix=fix)


class Refused(Exception):
    """One step of a conversation with a receiver did not succeed; says why."""

    def __init__(self, why: Explanation) -> None:
        self.why = why
        super().__init__(why.words)


class Unreachable(Refused):
    """There is nobody to talk to, so that no further step can succeed."""


# PS3.8 Table 9-21: (source, reason) of an A-ASSOCIATE-RJ.
_REJECTIONS = {
    (1, 1): Explanation(
        "rejected_without_reason",
        "the receiver refused the association and gave no reason",
        "Look into the receiver's log. Often AE title {calling} or this machine's address is not "
        "known to it.",
    ),
    (1, 2): Explanation(
        "application_context_not_supported",
        "the receiver does not know DICOM's application context",
        "Check that port {port} belongs to a DICOM receiver and not to another service.",
    ),
    (1, 3): Explanation(
        "calling_ae_not_recognised",
        "the receiver does not know the sender {calling}",
        "Enter AE title {calling} with this machine's address at the receiver. DeepBrainPrint: "
        "`deepbrainprint senders` there lists it, with the command that admits it.",
    ),
    (1, 7): Explanation(
        "called_ae_not_recognised",
        "the receiver does not answer to AE title {called}",
        "Ask for the receiver's own AE title and give it as the called title, in capitals as "
        "there.",
    ),
    (2, 1): Explanation(
        "rejected_by_protocol",
        "the receiver's protocol layer refused the association and gave no reason",
        "Look into the receiver's log.",
    ),
    (2, 2): Explanation(
        "protocol_version_not_supported",
        "the receiver does not speak this version of the DICOM protocol",
        "Check that port {port} belongs to a DICOM receiver and not to another service.",
    ),
    (3, 1): Explanation(
        "temporary_congestion",
        "the receiver is overloaded or just starting",
        "Try again in a minute. If it lasts, look into the receiver's log.",
    ),
    (3, 2): Explanation(
        "local_limit_exceeded",
        "the receiver serves as many associations as it may",
        "Try again in a minute. If it lasts, raise the receiver's limit; DeepBrainPrint: "
        "DBP_MAXIMUM_ASSOCIATIONS.",
    ),
}

# PS3.8 Table 9-26: reasons of an abort by the receiver's protocol layer (source 2).
_ABORT_REASONS = {
    1: "it met a message that it does not know",
    2: "it met a message that it did not expect",
    4: "it met a parameter that it does not know",
    5: "it met a parameter that it did not expect",
    6: "it met a parameter with an impossible value",
}

# Statuses that all services share, PS3.7 Annex C; those of C-STORE in PS3.4 Table B.2-1.
_STATUSES = {
    0x0105: Explanation("no_such_attribute", "it does not know an attribute of the request"),
    0x0106: Explanation("invalid_attribute_value", "an attribute has a value it cannot use"),
    0x0110: Explanation(
        "processing_failure",
        "it failed while it worked on the request",
        "Look into the receiver's log: this is a fault there.",
    ),
    0x0111: Explanation(
        "duplicate_sop_instance",
        "it refuses an object that it has already",
        "Let the receiver accept repeats: a modality repeats after a broken network, and would "
        "show these images as failed for ever.",
    ),
    0x0112: Explanation("no_such_object_instance", "it does not have the object"),
    0x0117: Explanation("invalid_object_instance", "it does not accept the object's UID"),
    0x0118: Explanation("no_such_sop_class", "it does not know this kind of object"),
    0x0119: Explanation(
        "class_instance_conflict", "it has an object of another kind under this UID"
    ),
    0x0122: Explanation(
        "sop_class_not_supported",
        "it does not take this kind of object",
        "Allow Secondary Capture images at the receiver, or at least the kinds the modality makes.",
    ),
    0x0123: Explanation("no_such_action", "it does not know storage commitment's request"),
    0x0124: Explanation(
        "not_authorised",
        "the sender {calling} may not do this",
        "Give {calling} the right at the receiver. DeepBrainPrint: the object is in quarantine "
        "until somebody admits the sender; `deepbrainprint senders` there has the command.",
    ),
    0x0131: Explanation("duplicate_transaction_uid", "it has seen this transaction before"),
    0x0210: Explanation("duplicate_invocation", "it has a request of the same number in hand"),
    0x0211: Explanation("unrecognised_operation", "it does not know this operation"),
    0x0212: Explanation("mistyped_argument", "it cannot read an argument of the request"),
    0x0213: Explanation(
        "resource_limitation", "it lacks memory or disk", "Free space at the receiver."
    ),
}
_OUT_OF_RESOURCES = Explanation(
    "out_of_resources",
    "it cannot take anything now, by its own account for want of disk or database",
    "Free space on the receiver's disk and see that its database runs. The modality repeats by "
    "itself.",
)
_DOES_NOT_MATCH = Explanation(
    "data_set_does_not_match",
    "it says that the object does not fit its kind (SOP class)",
    "Look into the receiver's log for the attribute it misses.",
)
_CANNOT_UNDERSTAND = Explanation(
    "cannot_understand",
    "it cannot read the object",
    "Look into the receiver's log: the test object itself is a plain image.",
)
_WARNINGS = {
    0xB000: "it changed some values while it stored the object (coercion)",
    0xB006: "it left out some elements while it stored the object",
    0xB007: "it stored the object although that does not fit its kind (SOP class)",
}

# PS3.8 Table 9-18: result of one proposed presentation context.
_CONTEXT_RESULTS = {
    1: "it does not want it from this sender",
    2: "it gave no reason",
    3: "it does not know this service",
    4: "it knows none of the transfer syntaxes proposed",
}

_NO_REASON = Explanation("unknown_reason", "the receiver refused for a reason that is not DICOM's")


def rejection(result: int, source: int, reason: int) -> Explanation:
    """Why an association was refused (PS3.8 §9.3.4); to be filled in with `about`."""
    found = _REJECTIONS.get((source, reason), _NO_REASON)
    lasting = "for good" if result == 1 else "for now"
    triple = f"refused {lasting}: result {result}, reason {source}/{reason}"
    return replace(found, words=f"{found.words} ({triple})")


def is_listed_rejection(result: int, source: int, reason: int) -> bool:
    """Whether PS3.8 Table 9-21 knows this refusal."""
    return result in {1, 2} and (source, reason) in _REJECTIONS


def abort(source: int, reason: int) -> Explanation:
    """Why the receiver broke an association off (PS3.8 §9.3.8)."""
    cause = _ABORT_REASONS.get(reason, "it gave no reason") if source == 2 else "it gave no reason"
    return Explanation(
        "aborted",
        f"the receiver broke the association off: {cause}",
        "Look into the receiver's log of this minute.",
    )


def no_context(result: int, service: str) -> Explanation:
    """Why none of the proposed presentation contexts was accepted."""
    return Explanation(
        "no_presentation_context",
        f"the receiver accepts the association but not {service}: "
        f"{_CONTEXT_RESULTS.get(result, 'it gave no reason')}",
        f"Switch {service} on at the receiver, for this sender.",
    )


def status(code: int, comment: str, facts: Mapping[str, object]) -> Explanation:
    """What a status means that is neither success nor warning; with the receiver's own comment."""
    found = _of_class(code).about(**facts)
    said = f", saying “{printable(comment)}”" if comment else ""
    return replace(found, words=f"the receiver answers 0x{code:04X}{said}: {found.words}")


def commitment_failure(reason: int, facts: Mapping[str, object]) -> Explanation:
    """Why the receiver does not commit itself to an object (PS3.3 C.14, Failure Reason)."""
    found = _STATUSES.get(reason, _NO_REASON).about(**facts)
    return Explanation(
        "not_committed",
        f"the receiver does not promise to keep the object: {found.words} (0x{reason:04X})",
        found.fix or "Look into the receiver's log: the object was stored a moment before.",
    )


def warning(code: int) -> str:
    """What a warning of C-STORE means; empty for plain success."""
    return _WARNINGS.get(code, f"it warns with 0x{code:04X}") if code else ""


def is_warning(code: int) -> bool:
    """Whether a status says stored, but."""
    return code in {0x0001, 0x0107, 0x0116} or 0xB000 <= code < 0xC000


def printable(text: str) -> str:
    """What another machine said, safe to show."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)[:64]


def _of_class(code: int) -> Explanation:
    if code in _STATUSES:
        return _STATUSES[code]
    if 0xA700 <= code <= 0xA7FF:
        return _OUT_OF_RESOURCES
    if 0xA900 <= code <= 0xA9FF:
        return _DOES_NOT_MATCH
    if 0xC000 <= code <= 0xCFFF:
        return _CANNOT_UNDERSTAND
    return _NO_REASON
