from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from pydicom.uid import generate_uid

from tests.instances import delivery, mr_image, receive
from tests.integration.services import Service, free_port
from tests.integration.test_finding_matching import GENERATE
from tests.rows import rows

FINDSCU = shutil.which("findscu")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(FINDSCU is None, reason="needs findscu: install dcmtk"),
]


@pytest.fixture
def listener(intake_settings, tmp_path):
    """The real listener, open to all senders."""
    chosen = {"listener_port": free_port(), "unknown_senders": "accept", "listener_workers": 1}
    service = Service(
        "listener", "listen", intake_settings.model_copy(update=chosen), tmp_path / "log"
    )
    service.wait_for("listening")
    yield service
    service.kill()


def findscu(listener: Service, *options: str) -> str:
    port = str(listener.settings.listener_port)
    done = subprocess.run(
        [FINDSCU, "-v", "-S", "-k", "QueryRetrieveLevel=STUDY", *options, "127.0.0.1", port],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TCP_NODELAY": "1"},
        check=True,
    )
    return done.stdout + done.stderr


def test_the_listener_answers_c_find(listener, intake_settings, database):
    study = generate_uid()
    receive(intake_settings, database, delivery(mr_image(study_uid=study)))
    said = findscu(listener, "-k", f"StudyInstanceUID={study}", "-k", "PatientName")
    assert "(Pending)" in said
    assert study in said
    assert listener.wait_for("query_answered")["answers"] == 1


def test_a_peer_that_cancels_gets_no_further_answers(listener, database):
    rows(database, GENERATE, 5_000)
    said = findscu(listener, "--cancel", "2")
    assert "Cancel" in said
    assert listener.wait_for("query_answered")["answers"] < 5_000
