"""What the command line says and how it exits, as a user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

MISSING = {"DBP_ENCODER_PATH": "/nowhere"}


def run(*words, **variables):
    environment = {n: v for n, v in os.environ.items() if not n.startswith("DBP_")}
    return subprocess.run(
        [sys.executable, "-m", "deepbrainprint.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment | variables,
        check=False,
    )


def says(outcome, words, *, code):
    lines = outcome.stderr.strip().splitlines()
    assert outcome.returncode == code, outcome.stderr
    assert words in lines[-1]
    assert lines[-1].startswith("deepbrainprint: ")
    assert "Traceback" not in outcome.stderr


@pytest.fixture
def noise(tmp_path):
    drawn = np.random.default_rng(0).normal(100, 20, (64, 64, 40)).astype(np.float32)
    path = tmp_path / "noise.nii.gz"
    nib.save(nib.Nifti1Image(drawn, np.diag([3, 3, 4, 1])), path)
    return path


def test_an_unknown_variable_stops_every_command():
    says(run("studies", DBP_QUITE_SECONDS="3"), "DBP_QUITE_SECONDS is not a setting", code=5)


def test_no_database_says_which_variable_to_set(tmp_path):
    says(run("studies", "--home", tmp_path), "DBP_DATABASE_URL is empty", code=5)


def test_a_database_that_is_away_asks_to_try_again():
    url = "postgresql://postgres@127.0.0.1:1/nothing"
    says(run("studies", DBP_DATABASE_URL=url), "PostgreSQL does not answer", code=4)


def test_an_unknown_study_is_bad_input(database_url):
    says(run("studies", "77", DBP_DATABASE_URL=database_url), "there is no study 77", code=3)


def test_an_empty_service_says_so_in_words_and_in_json(database_url):
    for command in ("studies", "links", "queue"):
        assert run(command, DBP_DATABASE_URL=database_url).stdout.strip().endswith(".")
        listed = run(command, "--json", DBP_DATABASE_URL=database_url)
        assert (json.loads(listed.stdout), listed.returncode) == ([], 0)


def test_a_missing_encoder_is_a_wrong_setting(noise):
    says(run("fingerprint", noise, **MISSING), "DBP_ENCODER_PATH", code=5)


def test_a_missing_file_is_wrong_usage():
    assert run("fingerprint", "no-such-file.nii.gz").returncode == 2


@pytest.mark.slow
def test_noise_is_no_brain_and_says_why(noise):
    outcome = run("fingerprint", noise, "--json")
    assert outcome.returncode == 3, outcome.stderr
    (reason,) = json.loads(outcome.stdout)["refused"].values()
    assert "brain" in reason


@pytest.mark.slow
def test_a_damaged_file_does_not_stop_the_others(noise):
    damaged = noise.with_name("damaged.nii.gz")
    damaged.write_bytes(noise.read_bytes()[:200])
    refused = json.loads(run("fingerprint", damaged, noise, "--json").stdout)["refused"]
    assert "damaged" in refused[str(damaged)]
    assert len(refused) == 2


def test_a_folder_that_no_demo_made_is_never_emptied(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    says(run("demo", "--home", tmp_path), "choose another --home", code=5)
    assert (tmp_path / "thesis.txt").exists()


def test_every_setting_is_listed_with_its_meaning():
    listed = json.loads(run("settings", "--json").stdout)
    assert {"variable", "default", "meaning"} <= set(listed[0])
    assert all(row["meaning"] for row in listed)
