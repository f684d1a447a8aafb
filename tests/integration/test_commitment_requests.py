"""Storage commitment requests that make no sense, from pynetdicom as the requester."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydicom import Dataset
from typer.testing import CliRunner

from deepbrainprint.cli import app
from deepbrainprint.database.connection import Database
from deepbrainprint.intake.commitment.desk import CommitmentDesk
from deepbrainprint.intake.commitment.report import CommitmentReporter
from deepbrainprint.settings import Settings
from tests.instances import mr_image
from tests.integration.requesters import ask, open_door, wanted
from tests.integration.services import environment
from tests.rows import count, rows


@pytest.fixture
def door(intake_settings: Settings, database: Database) -> Iterator[int]:
    """Port of a listener."""
    with open_door(CommitmentDesk(database, CommitmentReporter(intake_settings, database))) as port:
        yield port


def without(name: str) -> Dataset:
    asked = wanted(mr_image())
    delattr(asked, name)
    return asked


def nameless() -> Dataset:
    asked = wanted(mr_image())
    del asked.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    return asked


@pytest.mark.parametrize(
    ("asked", "more", "status"),
    [
        (None, {}, 0x0115),
        (without("TransactionUID"), {}, 0x0115),
        (without("ReferencedSOPSequence"), {}, 0x0115),
        (wanted(), {}, 0x0115),
        (nameless(), {}, 0x0115),
        (wanted(mr_image()), {"action": 2}, 0x0123),
        (wanted(mr_image()), {"instance": "1.2.3"}, 0x0112),
    ],
    ids=["nothing", "no UID", "no list", "empty list", "no instance", "action 2", "instance"],
)
def test_a_request_that_makes_no_sense_is_refused_and_nothing_is_kept(
    database: Database, door: int, asked: Dataset | None, more: dict[str, Any], status: int
):
    answer = ask(door, asked, **more)
    assert answer.Status == status
    assert 0 < len(answer.ErrorComment) <= 64
    assert count(database, "commitment") == 0


@pytest.mark.filterwarnings("ignore:End of file reached")
@pytest.mark.parametrize(
    "sent",
    [b"\xff" * 99, b"\x08\x00\x99\x11\xff\xff\xff\xff" * 500],
    ids=["no data set", "sequences in sequences"],
)
def test_a_request_of_bytes_that_are_no_data_set_is_refused(
    database: Database, door: int, sent: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pynetdicom.association.encode", lambda *_: sent)
    assert ask(door, wanted(mr_image())).Status == 0x0115
    assert count(database, "commitment") == 0


def test_requests_and_addresses_are_told_on_the_command_line(
    intake_settings: Settings, database: Database, door: int
):
    def says(*words: str) -> str:
        done = CliRunner().invoke(app, ["commitment", *words], env=environment(intake_settings))
        assert done.exit_code == 0, done.output
        return done.output

    assert says("list").strip() == "No request has come."
    ask(door, wanted(mr_image(), mr_image()))
    [request] = json.loads(says("list", "--json", "--state", "waiting"))
    assert (request["requesting_ae"], request["instances"], request["committed"]) == (
        "SCANNER",
        2,
        0,
    )
    assert says("address", "SCANNER", "mr1.hospital", "11112").startswith("Reports for SCANNER")
    [address] = json.loads(says("addresses", "--json"))
    assert (address["host"], address["port"]) == ("mr1.hospital", 11112)
    assert rows(database, "select act, subject_id from act") == [
        ("commitment_address_set", "SCANNER")
    ]
