"""The shape of the DAG, read as Airflow reads it, on a machine without the heavy libraries."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DAGS = Path(__file__).resolve().parents[2] / "dags"
BLOCKED = ("torch", "faiss", "psycopg2", "pynetdicom", "SimpleITK", "nilearn", "onnxruntime")

READER = f"""
import json, sys, time

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocker())
from airflow.dag_processing.dagbag import DagBag

began = time.monotonic()
bag = DagBag({str(DAGS)!r})
seconds = time.monotonic() - began
dags = [
    {{
        "dag_id": dag.dag_id, "file": dag.fileloc, "doc": dag.doc_md, "schedule": str(dag.schedule),
        "max_active_runs": dag.max_active_runs,
        "tasks": [
            {{
                "task_id": task.task_id, "doc": task.doc_md, "retries": task.retries,
                "timeout": task.execution_timeout and task.execution_timeout.total_seconds(),
                "downstream": sorted(task.downstream_task_ids),
            }}
            for task in dag.topological_sort()
        ],
    }}
    for dag in bag.dags.values()
]
print(json.dumps({{"errors": bag.import_errors, "seconds": seconds, "dags": dags}}))
"""


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = str(tmp_path_factory.mktemp("airflow"))
    done = subprocess.run(
        [sys.executable, "-c", READER],
        env={"AIRFLOW_HOME": home, "PYTHONPATH": str(DAGS), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def ingest(reading: dict[str, Any]) -> dict[str, Any]:
    return next(dag for dag in reading["dags"] if dag["dag_id"] == "ingest_study")


def test_the_dags_load_without_the_heavy_libraries(reading: dict[str, Any]) -> None:
    assert reading["errors"] == {}
    assert reading["seconds"] < 2


def test_every_dag_is_named_like_its_file(reading: dict[str, Any]) -> None:
    assert all(Path(dag["file"]).stem == dag["dag_id"] for dag in reading["dags"])


def test_a_study_takes_five_steps_one_after_the_other(ingest: dict[str, Any]) -> None:
    order = ["convert", "strip", "slice", "encode", "link"]
    assert [task["task_id"] for task in ingest["tasks"]] == order
    assert [task["downstream"] for task in ingest["tasks"]] == [[name] for name in order[1:]] + [[]]


def test_every_step_has_docs_a_time_limit_and_retries(ingest: dict[str, Any]) -> None:
    assert ingest["doc"]
    assert all(task["doc"] and task["timeout"] and task["retries"] for task in ingest["tasks"])


def test_only_the_dispatcher_starts_runs_and_few_at_a_time(ingest: dict[str, Any]) -> None:
    assert ingest["schedule"] == "None"
    assert ingest["max_active_runs"] == 4


def test_dag_files_stay_thin() -> None:
    assert all(len(path.read_text().splitlines()) <= 100 for path in DAGS.glob("*.py"))
