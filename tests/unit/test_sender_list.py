"""Which ruling counts for whom."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbrainprint.database.senders import SenderRuling
from deepbrainprint.intake.sender_list import (
    SenderList,
    command_to_admit,
    plain_address,
    printable_title,
    valid_network,
    valid_title,
)


def ruled(*words: tuple[str, str, bool]) -> SenderList:
    """Rulings in the order in which they were made."""
    return SenderList(tuple(SenderRuling(*word) for word in reversed(words)))


def may_send(listed: SenderList, calling_ae: str, address: str) -> bool | None:
    ruling = listed.ruling_on(calling_ae, address)
    return None if ruling is None else ruling.admitted


def test_nothing_is_said_of_a_sender_that_nobody_ruled_on():
    assert may_send(ruled(("MR1", "any", True)), "MR2", "10.1.2.3") is None


@pytest.mark.parametrize(
    ("network", "address", "covered"),
    [
        ("any", "10.1.2.3", True),
        ("any", "fe80::1%eth0", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.4", False),
        ("10.1.2.0/24", "10.1.2.255", True),
        ("10.1.2.0/24", "10.1.3.0", False),
        ("10.1.2.0/24", "::ffff:10.1.2.9", True),
        ("2001:db8::/32", "2001:db8:7::1", True),
        ("2001:db8::/32", "10.1.2.3", False),
        ("10.1.2.0/24", "no address", False),
    ],
)
def test_a_ruling_covers_the_addresses_of_its_network(network, address, covered):
    expected = True if covered else None
    assert may_send(ruled(("MR1", network, True)), "MR1", address) is expected


def test_the_newest_word_that_covers_a_sender_counts():
    listed = ruled(("MR1", "any", True), ("MR1", "any", False), ("MR1", "10.1.2.0/24", True))
    assert may_send(listed, "MR1", "10.1.2.3") is True
    assert may_send(listed, "MR1", "10.9.9.9") is False


def test_denying_a_sender_overtakes_what_was_said_of_its_addresses():
    listed = ruled(("MR1", "10.1.2.3", True), ("MR1", "any", False))
    assert may_send(listed, "MR1", "10.1.2.3") is False
    assert [ruling.network for ruling in listed.standing] == ["any"]


def test_what_newer_rulings_leave_open_still_stands():
    listed = ruled(("MR1", "10.1.0.0/16", True), ("MR1", "10.1.2.0/24", False))
    assert [ruling.network for ruling in listed.standing] == ["10.1.2.0/24", "10.1.0.0/16"]


def test_a_list_comes_back_from_its_file():
    listed = ruled(("MR1", "10.1.2.3", True), ("CT 2", "any", False))
    again = SenderList.from_json(listed.to_json())
    assert may_send(again, "MR1", "10.1.2.3") is True
    assert may_send(again, "CT 2", "10.1.2.3") is False


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[["A"]]', '[["A", "10.1.2.300", true, true]]'])
def test_a_damaged_file_is_no_list(text):
    with pytest.raises(ValueError):
        SenderList.from_json(text)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("any", "any"),
        ("", "any"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3/24", "10.1.2.0/24"),
        ("2001:DB8::1", "2001:db8::1"),
    ],
)
def test_networks_are_written_in_one_way(text, network):
    assert valid_network(text) == network


def test_a_host_name_is_no_network():
    with pytest.raises(ValueError, match=r"write 10\.1\.2\.3"):
        valid_network("mr1.hospital.example")


@pytest.mark.parametrize("title", ["", "   ", "A" * 17, "A\\B", "A\nB", "MÜLLER"])
def test_impossible_titles_are_refused(title):
    with pytest.raises(ValueError, match="1 to 16 printable"):
        valid_title(title)


def test_a_title_may_hold_spaces_and_signs():
    assert valid_title(" MR 1 [neuro] ") == "MR 1 [neuro]"


@given(st.text(st.characters(max_codepoint=255), max_size=16))
def test_an_odd_title_can_be_shown_anywhere(title):
    shown = printable_title(title)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= 64


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=16))
def test_a_pasted_command_names_just_this_sender(title):
    command = command_to_admit(printable_title(title), "10.1.2.3")
    if command:
        words = shlex.split(command)
        assert words[:4] == ["deepbrainprint", "admit", "--address", "10.1.2.3"]
        assert words[-1] == title.strip()


def test_a_title_that_begins_like_an_option_is_still_an_argument():
    assert command_to_admit("-x", "10.1.2.3").endswith("-- -x")


def test_no_command_admits_an_impossible_title():
    assert command_to_admit(printable_title("A\x07B"), "10.1.2.3") == ""


def test_an_address_is_shown_as_people_write_it():
    assert plain_address("::ffff:10.1.2.3") == "10.1.2.3"
    assert plain_address("odd\n") == "odd\\x0a"
