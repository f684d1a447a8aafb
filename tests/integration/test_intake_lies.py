"""Peers that break the rules of PS3.7 and PS3.8, and those that keep them in odd ways."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from deepbrainprint.intake.listener.pdu_stream import PduStream
from deepbrainprint.intake.listener.upper_layer import UpperLayer
from tests.certificates import authority, signed
from tests.instances import encoded, mr_image
from tests.integration.lies import DATA_SET, INVALID, STORE, UID, Lie, aborted, lies
from tests.integration.raw_house import RawHouse, raw_house
from tests.integration.raw_peer import (
    ABORT,
    ABORTED,
    ASSOCIATE_RJ,
    DATA,
    ECHO,
    ECHO_CONTEXT,
    LAST_DATA,
    MR_CONTEXT,
    P_DATA,
    RELEASE,
    RELEASE_RP,
    associate_rq,
    message,
    p_data,
    pdus_of,
    pdv,
    status_of,
    store_rq,
)


@pytest.fixture(scope="module")
def shared_house() -> Iterator[RawHouse]:
    with raw_house(maximum_pdu_bytes=1 << 19) as house:
        yield house


@pytest.fixture
def house(shared_house: RawHouse) -> RawHouse:
    shared_house.forget()
    return shared_house


@pytest.mark.parametrize("lie", lies(), ids=lambda lie: lie.name)
def test_each_lie_has_its_answer(house: RawHouse, lie: Lie):
    with capture_logs() as logs:
        story, answers = house.hear(lie.said)
    assert heard(answers) == lie.heard
    assert (len(house.kept()), len(house.aside())) == (lie.kept, lie.aside)
    assert story.ended
    assert [line for line in logs if line["log_level"] == "error"] == []


def heard(answers: bytes) -> str:
    """The last thing that tells something: no acceptance, and a release only if there is no other."""
    told = "close"
    for kind_of_pdu, body in pdus_of(answers):
        if kind_of_pdu == ABORT:
            return f"abort {body[3]}" if body[2] else "abort by user"
        if kind_of_pdu == ASSOCIATE_RJ:
            return "reject {} {} {}".format(*body[1:4])
        if kind_of_pdu == P_DATA:
            told = f"status {status_of(body):04x}"
        if kind_of_pdu == RELEASE_RP and told == "close":
            told = "release"
    return told


def test_an_association_may_be_cut_or_aborted_at_any_point(house: RawHouse):
    said = associate_rq() + message(ECHO_CONTEXT, ECHO) + STORE
    with capture_logs() as logs:
        for end in range(0, len(said) - len(ABORTED), 7):
            for last in (b"", ABORTED):
                story, _ = house.hear(said[:end] + last)
                assert story.ended in {"lost", "aborted", "protocol_violation"}, end
    assert house.kept() == {}
    assert [line for line in logs if line["log_level"] == "error"] == []


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(0, len(DATA_SET)), max_size=40), in_one_pdu=st.booleans())
def test_a_data_set_may_come_in_pieces_of_any_size(
    house: RawHouse, cuts: list[int], in_one_pdu: bool
):
    places = sorted([0, *cuts, len(DATA_SET)])
    pieces = [DATA_SET[a:b] for a, b in pairwise(places)]
    values = [pdv(MR_CONTEXT, DATA, piece) for piece in pieces[:-1]]
    values.append(pdv(MR_CONTEXT, LAST_DATA, pieces[-1]))
    body = p_data(*values) if in_one_pdu else b"".join(map(p_data, values))
    house.hear(associate_rq() + message(MR_CONTEXT, store_rq(UID)) + body + RELEASE)
    assert house.taken() == [DATA_SET]


@pytest.mark.parametrize("rows", [256, pytest.param(4096, marks=pytest.mark.slow)])
def test_a_data_set_may_come_byte_by_byte(house: RawHouse, rows: int):
    image = mr_image(rows=rows)
    uid, data_set = str(image.SOPInstanceUID), encoded(image)
    store = message(MR_CONTEXT, store_rq(uid), data_set, pdv_bytes=1)
    story, answers = house.hear(associate_rq() + store + RELEASE)
    assert (heard(answers), story.ended) == ("status 0000", "released")
    assert house.kept() == {uid: data_set}


def test_pdus_of_every_size_around_the_largest_are_read_right():
    with raw_house(maximum_pdu_bytes=8192) as house:
        image = mr_image(rows=1024)
        uid, data_set = str(image.SOPInstanceUID), encoded(image)
        for size in range(8192 - 12, 8192 + 1):
            house.forget()
            store = message(MR_CONTEXT, store_rq(uid), data_set, pdv_bytes=size)
            assert heard(house.hear(associate_rq() + store + RELEASE)[1]) == "status 0000", size
            assert house.kept() == {uid: data_set}
        larger = message(MR_CONTEXT, store_rq(uid), data_set, pdv_bytes=8192 + 7)
        assert heard(house.hear(associate_rq() + larger)[1]) == aborted(INVALID)


@pytest.mark.parametrize("size", [(1 << 18) + shift for shift in (-13, -12, -7, -6, -1, 0, 1, 6)])
def test_pdus_around_the_size_of_our_buffer_are_read_right(house: RawHouse, size: int):
    image = mr_image(rows=20_000)
    uid, data_set = str(image.SOPInstanceUID), encoded(image)
    store = message(MR_CONTEXT, store_rq(uid), data_set, pdv_bytes=size)
    assert heard(house.hear(associate_rq() + store + RELEASE)[1]) == "status 0000"
    assert house.kept() == {uid: data_set}


def test_a_peer_that_reads_slowly_over_tls_is_waited_for(tmp_path: Path):
    """Looking whether more has come does not shorten the time that sending may take."""
    ours, theirs = secured_pair(tmp_path)
    stream, layer = PduStream(ours, pdu_seconds=5), UpperLayer(ours)
    assert not stream.has_more()
    answer = bytes(8 << 20)
    reader = threading.Timer(0.2, read_to, [theirs, len(answer)])
    reader.start()
    layer.send(answer)
    reader.join()


def test_looking_for_a_cancel_costs_next_to_nothing():
    """It is done after each answer to a C-FIND."""
    ours, theirs = socket.socketpair()
    with theirs:
        stream, began = PduStream(ours, pdu_seconds=5), time.monotonic()
        assert not any(stream.has_more() for _ in range(200))
        assert time.monotonic() - began < 0.2
        theirs.sendall(RELEASE)
        assert stream.has_more()
    ours.close()


def secured_pair(folder: Path) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """Both ends of a TLS connection."""
    pair = signed(folder, authority(folder))
    server, client = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    )
    server.load_cert_chain(pair.certificate, pair.key)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    ours, theirs = socket.socketpair()
    secured: list[ssl.SSLSocket] = []
    shaking = threading.Thread(
        target=lambda: secured.append(server.wrap_socket(ours, server_side=True))
    )
    shaking.start()
    other = client.wrap_socket(theirs)
    shaking.join()
    return secured[0], other


def read_to(connection: ssl.SSLSocket, size: int) -> None:
    while size > 0:
        size -= len(connection.recv(1 << 16))
