"""The benchmark of intake, run small against real receivers; nothing here asserts a speed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import psutil
import pytest

from deepbrainprint.bench import intake
from deepbrainprint.bench.intake import Plan, bench_intake
from deepbrainprint.bench.receivers import DcmtkStorescp, PynetdicomApp
from tests.integration.services import wait_until

pytestmark = [
    pytest.mark.skipif(
        shutil.which("dcmsend") is None or shutil.which("storescp") is None,
        reason="needs dcmsend and storescp: install the package dcmtk",
    ),
    pytest.mark.slow,
]

FIGURES = {
    "instances_per_second",
    "mb_per_second",
    "cpu_seconds_per_gb",
    "sender_cpu_seconds_per_gb",
    "peak_rss_mb",
    "peak_process_rss_mb",
}


def command(*words):
    return [
        *(sys.executable, "-m", "deepbrainprint.cli", "bench", "intake", "--patience", "0"),
        *map(str, words),
    ]


def environment():
    return {name: text for name, text in os.environ.items() if not name.startswith("DBP_")}


def bench(*words):
    return subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=environment(),
    )


def processes_in(folder):
    return [
        process
        for process in psutil.process_iter(["cmdline", "cwd"])
        if str(folder) in " ".join([*(process.info["cmdline"] or ()), process.info["cwd"] or ""])
    ]


def small(folder, *receivers, cells=("slices-1",)):
    return Plan(receivers, cells, repeat=1, scale=0.005, folder=folder)


def test_it_measures_us_beside_a_peer_and_leaves_nothing_behind(tmp_path):
    done = bench(
        *("--receivers", "ours,dcmtk", "--cells", "slices-1,mixed-4", "--repeat", 1),
        *("--scale", 0.005, "--folder", tmp_path, "--json"),
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["failures"] == []
    assert {"processor", "cores", "memory_bytes", "kernel", "file_system", "python"} <= set(
        document["machine"]
    )
    assert [one["name"] for one in document["receivers"]] == ["ours", "dcmtk"]
    assert all(one["version"] and one["success_means"] for one in document["receivers"])
    sent = {cell["name"]: cell for cell in document["cells"]}
    assert sent["slices-1"]["instances"] == 5
    assert {load["set"] for load in sent["mixed-4"]["loads"]} == {"slices", "multiframe"}
    assert len(document["results"]) == 4
    for result in document["results"]:
        assert result.keys() >= FIGURES
        assert result["instances_per_second"]["median"] > 0
        assert result["slices_response_p50_ms"]["median"] > 0
    ours = next(result for result in document["results"] if result["receiver"] == "ours")
    assert ours["peak_rss_mb"]["median"] > ours["peak_rss_mb_without_postgres"]["median"]
    assert {ratio["peer"] for ratio in document["ratios"]} == {"dcmtk"}
    assert [goal["holds"] is None for goal in document["goals"]].count(True) == 4
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []


def test_a_person_gets_a_table_for_each_cell_and_the_goals():
    done = bench("--receivers", "dcmtk", "--cells", "slices-1", "--repeat", 1, "--scale", 0.005)
    assert done.returncode == 0, done.stderr
    assert "slices-1: 5 objects, 1 MB, 1 associations" in done.stdout
    assert "instances/s" in done.stdout
    assert "at least 500 slices/s on 1 association: not measured" in done.stdout
    assert "dcmtk" in done.stderr


def test_a_receiver_that_says_success_and_keeps_nothing_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setitem(intake.RECEIVERS, "dcmtk", DcmtkStorescp("--fork", "--ignore"))
    document = bench_intake(small(tmp_path, "dcmtk"), lambda _: None)
    [failure] = document["failures"]
    assert "holds 0 files" in failure["wrong"]


def test_a_receiver_that_refuses_all_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setitem(intake.RECEIVERS, "dcmtk", DcmtkStorescp("--refuse"))
    document = bench_intake(small(tmp_path, "dcmtk"), lambda _: None)
    [failure] = document["failures"]
    assert "5 of dcmsend's objects without Success" in failure["wrong"]
    assert "5 timed objects without Success" in failure["wrong"]


def test_a_receiver_that_is_not_installed_is_left_out_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(DcmtkStorescp, "missing", lambda _: "the package dcmtk, for storescp")
    document = bench_intake(
        small(tmp_path, "dcmtk", "pynetdicom", cells=("slices-1", "slices-16")), lambda _: None
    )
    assert {result["receiver"] for result in document["results"]} == {"pynetdicom"}
    assert document["left_out"] == [
        {"receiver": "dcmtk", "cell": "all", "why": "install the package dcmtk, for storescp"},
        {
            "receiver": "pynetdicom",
            "cell": "slices-16",
            "why": f"takes at most {PynetdicomApp.most_associations} associations",
        },
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_stops_and_removes_what_it_started(tmp_path, number):
    begun = subprocess.Popen(
        command("--receivers", "ours", "--cells", "slices-1", "--folder", tmp_path, "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    wait_until(lambda: len(processes_in(tmp_path)) > 5 or begun.poll() is not None)
    assert begun.poll() is None
    begun.send_signal(number)
    said, _ = begun.communicate(timeout=60)
    assert begun.returncode == 1
    assert processes_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    if number == signal.SIGINT:  # what was measured until then is not lost
        assert json.loads(said)["interrupted"]


def test_an_unknown_receiver_is_a_usage_error_that_names_the_known_ones():
    done = bench("--receivers", "dcm4chee")
    assert done.returncode == 2
    assert "pynetdicom" in done.stderr


def test_the_profile_shows_both_loops_of_pynetdicom_asleep(tmp_path):
    done = bench("--profile", "--scale", 0.1, "--folder", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    bare = [row for row in rows if row["receiver"] == "bare pynetdicom"]
    asleep = {row["thread"] for row in bare if "time.sleep" in row["code"]}
    assert asleep >= {"Association", "DULServiceProvider"}
    ours = [row for row in rows if row["receiver"] == "ours" and row["thread"] == "_live"]
    assert ours
    assert not [row for row in ours if "sleep" in row["code"]]
    assert list(tmp_path.iterdir()) == []
