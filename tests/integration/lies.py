"""What peers say who break the rules of PS3.7 and PS3.8, or keep them in odd ways."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tests.instances import encoded, mr_image
from tests.integration.raw_peer import (
    ABORTED,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    COMMAND,
    DATA,
    ECHO,
    ECHO_CONTEXT,
    IMPLICIT,
    LAST_COMMAND,
    LAST_DATA,
    MR_CONTEXT,
    RELEASE,
    RELEASE_RP,
    RELEASE_RQ,
    VERIFICATION,
    associate_rq,
    cancel_rq,
    command_set,
    element,
    message,
    p_data,
    pdu,
    pdv,
    request,
    store_rq,
)

IMAGE = mr_image()
UID, DATA_SET = str(IMAGE.SOPInstanceUID), encoded(IMAGE)
STORE = message(MR_CONTEXT, store_rq(UID), DATA_SET)
NO_CLASS = mr_image(SOPClassUID=None)
CT = "1.2.840.10008.5.1.4.1.1.2"
ANSWER = command_set(  # a C-ECHO-RSP
    element(0x0100, b"\x30\x80"),
    element(0x0120, b"\1\0"),
    element(0x0800, b"\1\1"),
    element(0x0900, b"\0\0"),
)
UNEXPECTED, UNRECOGNISED, INVALID = 2, 1, 6  # reasons of an A-P-ABORT, PS3.8 Table 9-26


@dataclass(frozen=True)
class Lie:
    """What a peer says, and what it must hear: the last PDU but a release, or its status."""

    name: str
    said: bytes
    heard: str
    kept: int = 0
    aside: int = 0


def aborted(reason: int) -> str:
    return f"abort {reason}"


def lies() -> list[Lie]:
    return [*lies_of_lengths(), *lies_of_order(), *lies_of_messages(), *lies_of_negotiation()]


def lies_of_lengths() -> list[Lie]:
    return [*lies_of_pdu_lengths(), *lies_of_value_lengths(), *lies_of_element_lengths(), *sizes()]


def lies_of_pdu_lengths() -> list[Lie]:
    opened, command = associate_rq(), pdv(MR_CONTEXT, LAST_COMMAND, store_rq(UID))
    return [
        Lie("a PDU of no length", opened + p_data(), aborted(INVALID)),
        Lie("a PDU of 4 GB", opened + p_data(command, length=0xFFFFFFFF), aborted(INVALID)),
        Lie("a PDU longer than what comes", opened + p_data(command, length=4000), aborted(0)),
        Lie("a PDU that cuts its value", opened + p_data(command, length=20), aborted(INVALID)),
        Lie("a PDU with a rest", opened + p_data(command, bytes(3)), aborted(INVALID)),
        Lie(
            "a release of 2 GB",
            opened + pdu(RELEASE_RQ, bytes(100), length=1 << 31),
            aborted(INVALID),
        ),
    ]


def lies_of_value_lengths() -> list[Lie]:
    opened = associate_rq()
    return [
        Lie("a value of length 0", opened + p_data(pdv(3, 3, b"", length=0)), aborted(INVALID)),
        Lie("a value of length 1", opened + p_data(pdv(3, 3, b"", length=1)), aborted(INVALID)),
        Lie(
            "a value longer than its PDU",
            opened + p_data(pdv(3, 3, store_rq(UID), length=5000)) + bytes(5000),
            aborted(INVALID),
        ),
        Lie(
            "a value of 4 GB",
            opened + p_data(pdv(3, 3, store_rq(UID), length=0xFFFFFFFF)),
            aborted(INVALID),
        ),
    ]


def lies_of_element_lengths() -> list[Lie]:
    opened = associate_rq()
    return [
        Lie(
            "a command group length that is wrong",
            opened + message(3, command_lying(), DATA_SET) + RELEASE,
            "status 0000",
            kept=1,
        ),
        Lie(
            "an element longer than its command",
            opened + message(3, store_rq(UID)[:-8], DATA_SET) + RELEASE,
            "status c000",
            aside=1,
        ),
        Lie(
            "an element longer than its data set",
            opened + message(3, store_rq(UID), DATA_SET[:-9]) + RELEASE,
            "status c000",
            aside=1,
        ),
    ]


def sizes() -> list[Lie]:
    """What is too large, endless, or odd and right."""
    opened, command = associate_rq(), pdv(MR_CONTEXT, LAST_COMMAND, store_rq(UID))
    data = pdv(MR_CONTEXT, LAST_DATA, DATA_SET)
    return [
        Lie(
            "a command of 100 kB",
            opened + p_data(*[pdv(3, COMMAND, bytes(10_000))] * 10),
            aborted(UNEXPECTED),
        ),
        Lie(
            "an identifier of 17 MB",
            opened
            + message(1, request(0x30, sop_class_uid=VERIFICATION, data_set=0))
            + p_data(pdv(1, DATA, bytes(1 << 19))) * 34,
            aborted(INVALID),
        ),
        Lie("data without end", opened + p_data(command) + p_data(pdv(3, DATA, b"")), aborted(0)),
        Lie(
            "an instance within one PDU",
            opened + p_data(command, data) + RELEASE,
            "status 0000",
            kept=1,
        ),
    ]


def lies_of_order() -> list[Lie]:
    opened, store = associate_rq(), store_rq(UID)
    half = p_data(pdv(3, LAST_COMMAND, store), pdv(3, DATA, DATA_SET[:100]))
    return [
        Lie("data before an association", STORE, aborted(UNEXPECTED)),
        Lie("a release before an association", RELEASE, aborted(UNEXPECTED)),
        Lie("a second association request", opened + opened, aborted(UNEXPECTED)),
        Lie("an acceptance", opened + pdu(ASSOCIATE_AC, bytes(68)), aborted(UNEXPECTED)),
        Lie("a rejection", opened + pdu(ASSOCIATE_RJ, bytes(4)), aborted(UNEXPECTED)),
        Lie("an answer to no release", opened + pdu(RELEASE_RP, bytes(4)), aborted(UNEXPECTED)),
        Lie("PDU type 0", opened + pdu(0, bytes(4)), aborted(UNRECOGNISED)),
        Lie("PDU type 8", opened + pdu(8, bytes(4)), aborted(UNRECOGNISED)),
        Lie("PDU type 255", opened + pdu(255, bytes(4)), aborted(UNRECOGNISED)),
        Lie("data before a command", opened + p_data(pdv(3, 2, DATA_SET)), aborted(UNEXPECTED)),
        Lie(
            "data before the command's end",
            opened + p_data(pdv(3, COMMAND, store), pdv(3, LAST_DATA, DATA_SET)),
            aborted(UNEXPECTED),
        ),
        Lie("data of another context", opened + half + p_data(pdv(1, 2, b"")), aborted(UNEXPECTED)),
        Lie("a command amid data", opened + half + message(1, ECHO), aborted(UNEXPECTED)),
        Lie(
            "a command of two contexts",
            opened + p_data(pdv(1, COMMAND, store[:20]), pdv(3, LAST_COMMAND, store[20:])),
            aborted(UNEXPECTED),
        ),
        Lie(
            "data after its end",
            opened + STORE + p_data(pdv(3, LAST_DATA, b"more")),
            aborted(UNEXPECTED),
            kept=1,
        ),
        Lie("a context that was not accepted", opened + message(5, ECHO), aborted(UNEXPECTED)),
        Lie("a release amid a command", opened + p_data(pdv(3, 1, store[:9])) + RELEASE, "release"),
        Lie("a release amid data", opened + half + RELEASE, "release"),
        Lie("an abort amid data", opened + half + ABORTED, "close"),
        Lie("two requests at once", opened + message(1, ECHO) + STORE + RELEASE, "status 0000", 1),
    ]


def lies_of_messages() -> list[Lie]:
    opened = associate_rq()
    other = mr_image()
    on_echo = message(ECHO_CONTEXT, store_rq(str(other.SOPInstanceUID)), encoded(other))
    no_class = str(NO_CLASS.SOPInstanceUID)
    return [
        Lie("an instance on the context of C-ECHO", opened + on_echo + RELEASE, "status 0122"),
        Lie(
            "a class with a NUL in it",
            opened
            + message(3, store_rq(no_class, sop_class_uid="1.2\x003"), encoded(NO_CLASS))
            + RELEASE,
            "status c000",
            aside=1,
        ),
        Lie(
            "a class of 60 kB",
            opened
            + message(3, store_rq(no_class, sop_class_uid="9" * 60_000), encoded(NO_CLASS))
            + RELEASE,
            "status c000",
            aside=1,
        ),
        Lie(
            "an instance without data",
            opened + message(3, store_rq(UID, data_set=0x0101)) + RELEASE,
            "status c000",
        ),
        Lie(
            "an instance of no bytes",
            opened + message(3, store_rq(UID)) + p_data(pdv(3, LAST_DATA, b"")) + RELEASE,
            "status c000",
            aside=1,
        ),
        Lie("an empty command", opened + message(3, b""), aborted(INVALID)),
        Lie("noise for a command", opened + message(3, bytes(range(250))), aborted(INVALID)),
        Lie("a command of no known kind", opened + message(1, kind(0x0777)), aborted(INVALID)),
        Lie("an answer to no question", opened + message(1, ANSWER) + RELEASE, "release"),
        Lie("a cancel of nothing", opened + message(1, cancel_rq(7)) + RELEASE, "release"),
        Lie(
            "a service on the wrong context",
            opened + message(1, request(0x30, sop_class_uid="1.2.3.4")) + RELEASE,
            "abort by user",
        ),
    ]


def kind(field: int) -> bytes:
    return request(field, sop_class_uid=VERIFICATION)


def command_lying() -> bytes:
    right = store_rq(UID)
    return element(0x0000, struct.pack("<L", 0xFFFFFFFF)) + right[12:]


def lies_of_negotiation() -> list[Lie]:
    echo = message(ECHO_CONTEXT, ECHO) + RELEASE
    return [
        Lie("a web browser", b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n", aborted(UNRECOGNISED)),
        Lie(
            "TLS on the plain port",
            bytes.fromhex("16030100c4010000c0") + bytes(190),
            aborted(UNRECOGNISED),
        ),
        Lie("a request of 4 GB", pdu(ASSOCIATE_RQ, b"", length=0xFFFFFFFF), aborted(INVALID)),
        Lie("a request of no length", pdu(ASSOCIATE_RQ, b""), aborted(INVALID)),
        Lie("a request of zeros", pdu(ASSOCIATE_RQ, bytes(300)), aborted(INVALID)),
        Lie(
            "a request of broken items",
            pdu(ASSOCIATE_RQ, associate_rq()[6:80] + b"\xff" * 200),
            aborted(INVALID),
        ),
        Lie("a title of control signs", associate_rq(calling=b"MR\x1b[31m"), aborted(INVALID)),
        Lie(
            "a title filled up with NULs",  # C programs do that
            associate_rq(calling=b"MR1".ljust(16, b"\0"), called=b"DBP".ljust(16, b"\0")) + echo,
            "status 0000",
        ),
        Lie("answers of one byte at most", associate_rq(largest_pdu=1) + echo, "abort by user"),
        Lie("answers of six bytes at most", associate_rq(largest_pdu=6) + echo, "abort by user"),
        Lie("answers without bound", associate_rq(largest_pdu=0) + echo, "status 0000"),
        Lie(
            "128 contexts",
            associate_rq([(n, VERIFICATION, [IMPLICIT] * 8) for n in range(1, 256, 2)]) + echo,
            "status 0000",
        ),
        Lie(
            "the same context twice",
            associate_rq([(1, VERIFICATION, [IMPLICIT])] * 2) + echo,
            "status 0000",
        ),
        Lie("another version of the protocol", other_version() + echo, "reject 1 2 2"),
    ]


def other_version() -> bytes:
    right = bytearray(associate_rq())
    right[6:8] = b"\x00\x02"
    return bytes(right)
