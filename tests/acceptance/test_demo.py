"""The whole service: synthetic patients over the network to decisions in PostgreSQL."""

from __future__ import annotations

import re

import pytest

from deepbrainprint.database.connection import Database
from deepbrainprint.settings import load_settings
from deepbrainprint.simulation.identities import FAMILY_NAMES, GIVEN_NAMES, identity_of
from deepbrainprint.stack import settings_of_home
from tests.acceptance.conftest import run
from tests.rows import rows

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(1800)]


def test_every_decision_of_the_demo_is_right(service):
    wrong = [study for study in service.demo["studies"] if study["right"] != "yes"]
    assert (wrong, service.demo_exit_code) == ([], 0)


def test_the_demo_holds_what_it_promises(service):
    sent = [study["what was sent"] for study in service.demo["studies"]]
    assert len(sent) == 10
    for words in ("under another id", "in T2w", "phantom", "late", "sent twice"):
        assert any(words in title for title in sent), words


def test_every_step_of_every_study_is_on_its_timeline(service):
    for study in service.ask("links"):
        steps = service.ask("studies", str(study["study_id"]))["steps"]
        done = [
            s["step"]
            for s in steps
            if s["outcome"] == "done" and s["revision"] == study["revision"]
        ]
        assert done == ["convert", "strip", "slice", "encode", "link"]


def test_a_late_image_made_a_second_revision_and_superseded_the_first(service):
    revisions = {study["study_id"]: study["revision"] for study in service.ask("studies")}
    assert max(revisions.values()) == 2
    assert sum(number == 2 for number in revisions.values()) == 1


def test_status_says_that_everything_is_up(service):
    status = run("status", "--home", str(service.home))
    assert "Everything is up." in status.stdout
    assert "password" in status.stdout


def test_no_identity_is_in_any_log_run_id_xcom_or_index_file(service):
    words = {*FAMILY_NAMES, *(name for names in GIVEN_NAMES.values() for name in names)}
    for person in range(1, 8):
        identity = identity_of(person)
        words |= {identity.patient_id, identity.birth_date, identity.accession_number}
    spoken = re.compile("|".join(rf"\b{re.escape(word)}\b" for word in sorted(words)))
    for path in (service.home / "logs", service.home / "gallery", service.home / "airflow"):
        for file in filter(lambda f: f.is_file(), path.rglob("*")):
            assert not spoken.search(file.read_text(errors="replace")), file
    said = _said_by_airflow(service)
    assert said
    assert not spoken.search(said)


def _said_by_airflow(service) -> str:
    url = settings_of_home(load_settings(home=service.home)).database_url.get_secret_value()
    database = Database(url.replace("/deepbrainprint", "/airflow"))
    found = rows(database, "select run_id, conf::text from dag_run")
    found += rows(database, "select value::text, dag_id from xcom")
    found += rows(database, "select event, extra from log")
    database.close()
    return "\n".join(str(row) for row in found)
