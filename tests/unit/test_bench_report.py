"""What the benchmark sends, and what it makes of what it measured."""

from __future__ import annotations

import hashlib

import pytest
from pydicom import dcmread

from deepbrainprint.bench import intake, probe
from deepbrainprint.bench.cells import CELLS, Cell, Load
from deepbrainprint.bench.meter import Usage
from deepbrainprint.bench.objects import MULTIFRAME, SLICES, Series, data_set_bytes, new_tag
from deepbrainprint.bench.report import Lost, Run, found_in, other_cpu_share
from deepbrainprint.bench.senders import Sent
from deepbrainprint.intake.header import read_header
from deepbrainprint.intake.listener.command import Command, command_pdu, encode_store_response

CELL = Cell("slices-4", (Load(SLICES, 25),) * 4)


def run(receiver="ours", *, seconds=1.0, responses=(0.001,), wrong="", busy=0.7):
    rss = 100_000_000
    usage = Usage({"receiver": 0.5}, {"receiver": rss}, {"receiver": rss}, rss, busy)
    return Run(
        receiver, CELL.name, 0, Sent(seconds, 0.2, 100), usage, {"slices": [*responses]}, wrong
    )


def goal(found, words):
    return next(goal for goal in found["goals"] if words in goal["goal"])


@pytest.mark.parametrize(
    ("kind", "size", "frames"), [(SLICES, 132_000, None), (MULTIFRAME, 25_000_000, 191)]
)
def test_objects_are_dicom_files_of_the_size_that_is_said(tmp_path, kind, size, frames):
    [path] = Series(kind, new_tag(), 3).files(tmp_path, 1)
    read = dcmread(path)
    assert read.pixel_array.size * 2 == kind.pixel_bytes
    assert data_set_bytes(kind) == pytest.approx(size, rel=0.01)
    assert read.get("NumberOfFrames") == frames
    assert read.file_meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID


def test_no_two_objects_share_a_uid_or_their_pixels():
    headers, pixels = [], set()
    for tag in (new_tag(), new_tag()):
        for association in (0, 15):
            for number in (0, 1, 999):
                data_set = b"".join(Series(SLICES, tag, association).data_set(number))
                headers.append(read_header(data_set, transfer_syntax_uid="1.2.840.10008.1.2.1"))
                pixels.add(hashlib.sha256(data_set[-SLICES.pixel_bytes :]).digest())
    assert len({header.sop_instance_uid for header in headers}) == 12
    assert len({header.study_uid for header in headers}) == 4
    assert {header.facts.instance_number for header in headers} == {1, 2, 1000}
    assert len(pixels) == 3


def test_the_sets_are_those_that_were_promised():
    assert CELLS["slices-1"].instances == 1000
    assert CELLS["slices-4"].instances == CELLS["slices-16"].instances == 4000
    assert CELLS["multiframe-1"].instances == 20
    assert {load.kind for load in CELLS["mixed-4"].loads} == {SLICES, MULTIFRAME}
    assert len(CELLS["mixed-4"].loads) == 4


def test_a_small_scale_leaves_an_object_on_each_association():
    assert [load.count for load in CELLS["slices-16"].scaled(0.0001).loads] == [1] * 16


def test_results_are_medians_with_their_spread():
    found = found_in([run(seconds=s) for s in (1.0, 4.0, 2.0)], [], [CELL])
    [result] = found["results"]
    assert result["instances_per_second"] == {"median": 50.0, "least": 25.0, "most": 100.0}
    assert len(found["runs"]) == 3


def test_ratios_are_of_medians():
    found = found_in([run(seconds=1.0), run("orthanc", seconds=2.0)], [], [CELL])
    assert found["ratios"] == [
        {
            "cell": "slices-4",
            "peer": "orthanc",
            "instances_per_second": 2.0,
            "mb_per_second": 2.0,
            "cpu_seconds_per_gb": 1.0,
        }
    ]


@pytest.mark.parametrize(("seconds", "holds"), [(1.9, True), (2.1, False)])
def test_a_goal_holds_where_we_are_as_fast_as_orthanc_in_the_same_run(seconds, holds):
    found = found_in([run(seconds=seconds), run("orthanc", seconds=2.0)], [], [CELL])
    assert goal(found, "Orthanc")["holds"] is holds


def test_one_slow_answer_in_a_hundred_is_beyond_the_99th_percentile_and_two_are_not():
    one = found_in([run(responses=[0.001] * 99 + [0.9])], [], [CELL])
    two = found_in([run(responses=[0.001] * 98 + [0.9] * 2)], [], [CELL])
    assert goal(one, "50 ms")["found"] == pytest.approx(1.0)
    assert goal(two, "50 ms")["found"] == pytest.approx(900.0)
    assert (goal(one, "50 ms")["holds"], goal(two, "50 ms")["holds"]) == (True, False)


def test_a_goal_that_was_not_measured_neither_holds_nor_fails():
    assert goal(found_in([run()], [], [CELL]), "1 association")["holds"] is None
    assert goal(found_in([run()], [], [CELL]), "Orthanc")["holds"] is None


def test_a_run_that_went_wrong_is_told():
    found = found_in([run(wrong="3 of dcmsend's objects without Success")], [], [CELL])
    assert [failure["wrong"] for failure in found["failures"]] == [
        "3 of dcmsend's objects without Success"
    ]


@pytest.mark.parametrize(
    ("status", "is_success"), [(0x0000, True), (0xA700, False), (0xB000, False)]
)
@pytest.mark.parametrize("message_id", [1, 521])  # 521 is 0x0209, which looks like (0000,0900)
def test_only_status_zero_is_a_success(message_id, status, is_success):
    command = Command(1, message_id, True, "1.2", "1.2.3")
    answer = command_pdu(1, encode_store_response(command, status))[6:]
    assert probe._is_success(answer) is is_success


def test_a_receiver_that_did_not_start_is_told_beside_what_was_measured():
    lost = Lost("orthanc", CELL.name, 0, "orthanc does not start: no room")
    found = found_in([run()], [lost], [CELL])
    assert [failure["receiver"] for failure in found["failures"]] == ["orthanc"]
    assert len(found["results"]) == 1


def test_what_others_took_is_neither_the_receivers_nor_the_senders(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert other_cpu_share(run(busy=0.7)) == pytest.approx(0.0)
    assert other_cpu_share(run(busy=1.7)) == pytest.approx(0.5)


def test_a_disturbed_run_is_made_again_and_the_least_disturbed_counts(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    quiet, loud, louder = run(busy=0.7), run(busy=1.7), run(busy=2.7)
    attempts = iter([louder, quiet, loud])
    assert intake._undisturbed(attempts) is quiet
    assert list(attempts) == [loud]
    assert intake._undisturbed([louder, loud, louder]) is loud
