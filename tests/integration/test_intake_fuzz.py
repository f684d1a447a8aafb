"""Random damage to what a peer says: nothing crashes, nothing leaks, nothing is filed that was not sent.

Each input follows from its number: what fails names the number, and `damaged(number)` makes it again.
"""

from __future__ import annotations

import random
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from structlog.testing import capture_logs

from deepbrainprint.database.connection import Database
from deepbrainprint.errors import BadStudy
from deepbrainprint.intake.header import read_header
from deepbrainprint.intake.listener.command import encode_store_response, read_command
from deepbrainprint.intake.part10 import read_delivery, read_request
from deepbrainprint.settings import Settings
from tests.instances import delivery, encoded, mr_image, receive
from tests.integration.raw_house import (
    RawHouse,
    descriptors,
    raw_house,
    resident_bytes,
)
from tests.integration.raw_peer import (
    ASSOCIATE_RQ,
    CONTEXTS,
    ECHO,
    ECHO_CONTEXT,
    MR_CONTEXT,
    P_DATA,
    RELEASE,
    associate_rq,
    cancel_rq,
    data_sets_of,
    message,
    pdu,
    pdus_of,
    request,
    store_rq,
)
from tests.rows import count, rows

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom on odd values
Mutator = Callable[[random.Random, bytearray, Sequence[bytes]], None]
ENDINGS = {"released", "aborted", "aborted_by_us", "rejected", "lost", "protocol_violation"}
LONGEST_SECONDS = 10.0  # for one input of some kilobytes, on a machine that is busy
MOST_GROWTH_BYTES = 64 << 20
LENGTHS = (0, 1, 2, 5, 6, 7, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


def amount(quick: int, full: int) -> pytest.MarkDecorator:
    """So many inputs in a quick run, so many in a full one."""
    return pytest.mark.parametrize(
        "inputs",
        [
            pytest.param(quick, id="quick"),
            pytest.param(full, id="full", marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
        ],
    )


@amount(2_000, 100_000)
def test_damaged_associations_end_in_order(inputs: int):
    samples = conversations()
    with raw_house(network_seconds=30) as house:
        for number in range(200):  # what is loaded and cached once is no leak
            hear_one(house, number, samples)
        before = descriptors(), set(threading.enumerate()), resident_bytes()
        for number in range(inputs):
            hear_one(house, number, samples)
            if number % 500 == 499:
                assert house.kept() == {}
                house.forget()
        # threads of earlier tests may end meanwhile, with what they held: new ones are a leak
        assert set(threading.enumerate()) <= before[1]
        assert descriptors() <= before[0]
        assert resident_bytes() - before[2] < MOST_GROWTH_BYTES


def hear_one(house: RawHouse, number: int, samples: list[bytes]) -> None:
    """Live through one damaged association and look at all that came of it."""
    said = damaged(number, samples)
    began = time.perf_counter()
    with capture_logs() as logs:
        story, answers = house.hear(said)
    assert time.perf_counter() - began < LONGEST_SECONDS, number
    assert story.ended in ENDINGS, number
    assert [line["event"] for line in logs if line["log_level"] == "error"] == [], number
    assert b"".join(pdu(kind, body) for kind, body in pdus_of(answers)) == answers, number
    sent = data_sets_of(said) if house.answers else []
    assert all(data_set in sent for data_set in house.taken()), number
    house.answers.clear()


def conversations() -> list[bytes]:
    """Whole associations in order, which are then damaged."""
    image = known_image(rows=4)
    uid, data_set = str(image.SOPInstanceUID), encoded(image)
    store, echo = message(MR_CONTEXT, store_rq(uid), data_set), message(ECHO_CONTEXT, ECHO)
    pieces = message(MR_CONTEXT, store_rq(uid), data_set, pdv_bytes=100)
    find = request(0x0020, sop_class_uid="1.2.840.10008.5.1.4.1.2.2.1", data_set=0)
    action = request(0x0130, sop_class_uid="1.2.840.10008.1.20.1", data_set=0)
    many = [*CONTEXTS, *((n, uid, [ImplicitVRLittleEndian] * 3) for n in range(5, 15, 2))]
    others = [message(ECHO_CONTEXT, command, data_set[:60]) for command in (find, action)]
    return [
        associate_rq() + echo + RELEASE,
        associate_rq() + store + RELEASE,
        associate_rq() + pieces + echo + RELEASE,
        associate_rq(many) + store + message(ECHO_CONTEXT, cancel_rq(1)) + pieces + RELEASE,
        associate_rq() + b"".join(others) + RELEASE,
    ]


def known_image(**changes: object) -> Dataset:
    """The same bytes in every run."""
    uids = {"SOPInstanceUID": "1.2.3.41", "SeriesInstanceUID": "1.2.3.42"}
    return mr_image(study_uid="1.2.3.43", **(uids | changes))


def damaged(number: int, samples: Sequence[bytes]) -> bytes:
    """The input of this number: one of the samples, hurt in one to four places."""
    chance = random.Random(number)
    content = bytearray(chance.choice(samples))
    for _ in range(chance.choice((1, 1, 2, 4))):
        chance.choice(MUTATORS)(chance, content, samples)
    return bytes(content)


def flip(chance: random.Random, content: bytearray, samples: Sequence[bytes]) -> None:
    if content:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def overwrite(chance: random.Random, content: bytearray, samples: Sequence[bytes]) -> None:
    start = chance.randrange(len(content) + 1)
    noise = chance.randbytes(chance.choice((1, 2, 4, 30)))
    content[start : start + len(noise)] = noise


def cut(chance: random.Random, content: bytearray, samples: Sequence[bytes]) -> None:
    del content[chance.randrange(len(content) + 1) :]


def drop(chance: random.Random, content: bytearray, samples: Sequence[bytes]) -> None:
    start = chance.randrange(len(content) + 1)
    del content[start : start + chance.choice((1, 2, 8, 100))]


def double(chance: random.Random, content: bytearray, samples: Sequence[bytes]) -> None:
    start = chance.randrange(len(content) + 1)
    content[start:start] = content[start : start + chance.choice((1, 8, 100, 1000))]


def splice(chance: random.Random, content: bytearray, samples: Sequence[bytes]) -> None:
    other = chance.choice(samples)
    del content[chance.randrange(len(content) + 1) :]
    content += other[chance.randrange(len(other)) :]


def lie_of_length(chance: random.Random, content: bytearray, samples: Sequence[bytes]) -> None:
    value, start = chance.choice(LENGTHS), chance.randrange(len(content) + 1)
    size = chance.choice((2, 4))
    order = chance.choice(("big", "little"))
    content[start : start + size] = (value & (256**size - 1)).to_bytes(size, order)


def shuffle(chance: random.Random, content: bytearray, samples: Sequence[bytes]) -> None:
    """PDUs in another order, some of another kind."""
    units = list(pdus_of(bytes(content)))
    chance.shuffle(units)
    kinds = [kind if chance.random() < 0.9 else chance.randrange(10) for kind, _ in units]
    content[:] = b"".join(pdu(kind, body) for kind, (_, body) in zip(kinds, units, strict=True))


def lie_of_pdu(chance: random.Random, content: bytearray, samples: Sequence[bytes]) -> None:
    """One PDU or presentation data value says another length than it has."""
    places = [2]
    for kind, body in pdus_of(bytes(content)):
        places.append(places[-1] + 6 + len(body))
        if kind == P_DATA:
            places.append(places[-1] - len(body) - 2)
    start = chance.choice(places)
    if start + 4 <= len(content):
        (said,) = struct.unpack_from(">L", content, start)
        wrong = chance.choice((*LENGTHS, said + 1, said - 1, said + 6, said * 2)) & 0xFFFFFFFF
        struct.pack_into(">L", content, start, wrong)


BYTE_MUTATORS: list[Mutator] = [flip, overwrite, cut, drop, double, splice, lie_of_length]
MUTATORS: list[Mutator] = [*BYTE_MUTATORS, flip, lie_of_length, shuffle, lie_of_pdu]


@amount(2_000, 100_000)
def test_damaged_association_requests_are_answered(inputs: int):
    samples = [
        associate_rq(user_items=bytes.fromhex(items))
        for items in (
            "",
            "5300000400010001",  # asynchronous operations
            "54000015001131" + b".2.840.10008.1.1".hex() + "0101",  # role selection
            "5800000a0201000464696e6f0000",  # user identity
        )
    ]
    with raw_house(network_seconds=30) as house:
        for number in range(inputs):
            body = damaged(number, [sample[6:] for sample in samples])
            hear_one(house, number, [pdu(ASSOCIATE_RQ, body) + RELEASE])


@amount(20_000, 100_000)
def test_damaged_commands_are_read_or_refused(inputs: int):
    samples = [store_rq("1.2.3.4"), ECHO, cancel_rq(1), request(0x0020, sop_class_uid="1.2")]
    for number in range(inputs):
        try:
            command = read_command(damaged(number, samples))
        except ValueError:
            continue
        assert len(encode_store_response(command, 0xA700, "words")) < 140_000, number


@amount(10_000, 100_000)
def test_damaged_data_sets_are_read_or_refused(inputs: int, corpus: list[tuple[str, bytes]]):
    before = resident_bytes()
    for number in range(inputs):
        syntax, data_set = damaged_data_set(number, corpus)
        began = time.perf_counter()
        assert read_or_refused(data_set, syntax), number
        assert time.perf_counter() - began < LONGEST_SECONDS, number
    assert resident_bytes() - before < 2 * MOST_GROWTH_BYTES


def read_or_refused(data_set: bytes, syntax: str) -> bool:
    """Whether it is read, or refused for a reason that is known."""
    try:
        header = read_header(data_set, transfer_syntax_uid=syntax)
    except BadStudy as refusal:
        return refusal.code in {"no_uid", "invalid_uid", "truncated", "unreadable"}
    return bool(header.study_uid)


@pytest.mark.parametrize(
    "inputs", [150, pytest.param(3000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_damaged_data_sets_are_filed_as_they_are_or_kept_aside(
    intake_settings: Settings, database: Database, corpus: list[tuple[str, bytes]], inputs: int
):
    filed: dict[str, bytes] = {}
    for number in range(inputs):
        syntax, data_set = damaged_data_set(number, corpus)
        try:
            uid = read_header(data_set, transfer_syntax_uid=syntax).sop_instance_uid
        except BadStudy:
            uid = "1.2.3"
        sent = delivery(data_set=data_set, transfer_syntax_uid=syntax, sop_instance_uid=uid)
        try:
            receive(intake_settings, database, sent)
        except BadStudy:
            continue
        filed.setdefault(uid, data_set)
    kept = [
        intake_settings.instances_folder / path
        for (path,) in rows(database, "select path from instance")
    ]
    assert {read_delivery(path).data_set for path in kept} == set(filed.values())
    assert count(database, "quarantine") == len(
        list(intake_settings.quarantine_folder.glob("*.dcm"))
    )


def damaged_data_set(number: int, corpus: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Transfer syntax and bytes of the data set of this number; sometimes they do not agree."""
    chance = random.Random(number)
    syntax, content = chance.choice(corpus)
    hurt = bytearray(content)
    others = [sample for _, sample in corpus[:8]]
    for _ in range(chance.choice((1, 1, 2, 4))):
        chance.choice(BYTE_MUTATORS)(chance, hurt, others)
    return (chance.choice(SYNTAXES) if chance.random() < 0.05 else syntax), bytes(hurt)


@pytest.fixture(scope="module")
def corpus(request: pytest.FixtureRequest) -> list[tuple[str, bytes]]:
    """Data sets with their transfer syntaxes: ours, and real odd ones where there are any."""
    return [*made_data_sets(), *real_data_sets(request)]


def made_data_sets() -> Iterator[tuple[str, bytes]]:
    images = [
        known_image(rows=2),
        known_image(rows=2, SpecificCharacterSet="\\ISO 2022 IR 87", PatientName="Yamada^Tarou"),
        known_image(rows=2, SpecificCharacterSet="GB18030", PatientName="Wang^XiaoDong=王^小东"),
        known_image(
            rows=2, ImagePositionPatient=[1, 2, 3], ImageOrientationPatient=[1, 0, 0, 0, 1, 0]
        ),
        known_image(rows=2, InstanceNumber=7, NumberOfFrames=2, SeriesNumber=3),
        known_image(rows=2, ReferencedStudySequence=[known_image(rows=2), known_image(rows=2)]),
    ]
    return ((str(syntax), encoded(image, syntax)) for syntax in SYNTAXES for image in images)


def real_data_sets(request: pytest.FixtureRequest) -> Iterator[tuple[str, bytes]]:
    try:
        folder: Path = request.getfixturevalue("shared_data") / "dicom" / "odd"
    except pytest.skip.Exception:
        return
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.stat().st_size > 1 << 20:
            continue
        content = path.read_bytes()
        try:
            meta, start = read_request(content)
        except BadStudy:
            yield ImplicitVRLittleEndian, content[: 1 << 14]
        else:
            yield meta.transfer_syntax_uid, content[start : start + (1 << 14)]
