"""The two things that the dispatcher asks of Airflow, by its stable REST API (v2)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import httpx

from deepbrainprint.errors import DeepBrainPrintError, Misconfigured, TryAgain
from deepbrainprint.records import StudyRevision
from deepbrainprint.settings import Settings

DAG = "ingest_study"
TROUBLES = frozenset({"airflow_away", "airflow_refused", "dag_missing"})  # codes of what we raise
_TIMEOUT_SECONDS = 10.0


class AirflowApi:
    """A session with Airflow's API server; not to be shared between threads.

    All methods raise TryAgain when Airflow cannot answer now, and Misconfigured when it refuses
    our user.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = httpx.Client(base_url=settings.airflow_url, timeout=_TIMEOUT_SECONDS)
        self._token = ""

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def start_run(self, run: StudyRevision) -> None:
        """Create the run of a revision; harmless when Airflow has it already (409)."""
        body: dict[str, Any] = {"dag_run_id": str(run), "logical_date": None, "conf": {}}
        answer = self._request("POST", f"/api/v2/dags/{DAG}/dagRuns", body)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            raise TryAgain(
                f"Airflow does not know the DAG {DAG}: wait until it is parsed, or put it into "
                "Airflow's DAG folder",
                code="dag_missing",
            )
        if answer.status_code != HTTPStatus.CONFLICT:
            _require_success(answer)

    def run_state(self, run: StudyRevision) -> str | None:
        """`queued`, `running`, `success` or `failed`; None when Airflow has no such run."""
        answer = self._request("GET", f"/api/v2/dags/{DAG}/dagRuns/{run}")
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        _require_success(answer)
        return str(_field(answer, "state"))

    def _request(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> httpx.Response:
        """An answer, with a new token tried once where the old one has run out."""
        if not self._token:
            self._token = self._new_token()
        answer = self._send(method, path, body)
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            self._token = self._new_token()
            answer = self._send(method, path, body)
        return answer

    def _new_token(self) -> str:
        body = {
            "username": self._settings.airflow_user,
            "password": self._settings.airflow_password.get_secret_value(),
        }
        answer = self._send("POST", "/auth/token", body)
        _require_success(answer)
        return str(_field(answer, "access_token"))

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            return self._client.request(method, path, json=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL):
            raise _away("does not answer") from None


def _require_success(answer: httpx.Response) -> None:
    status = answer.status_code
    if answer.is_success:
        return
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise Misconfigured(
            "Airflow refuses our user: correct DBP_AIRFLOW_USER or DBP_AIRFLOW_PASSWORD",
            code="airflow_refused",
        )
    raise _away(f"answers with status {status}")


def _field(answer: httpx.Response, name: str) -> object:
    try:
        return answer.json()[name]
    except (ValueError, KeyError, TypeError):
        raise _away(f"answers without {name}") from None


def _away(how: str) -> DeepBrainPrintError:
    return TryAgain(
        f"Airflow {how}: check that its API server runs and that DBP_AIRFLOW_URL points at it",
        code="airflow_away",
    )
