"""Promises about the source itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

HEAVY = ("torch", "faiss", "SimpleITK", "nilearn", "deepbet", "onnxruntime", "airflow")
BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {heavy!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
import {module}
"""


def tracked(pattern: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return listed.stdout.split()


@pytest.mark.parametrize(
    "module",
    ["deepbrainprint.intake.listener", "deepbrainprint.intake.dispatch", "deepbrainprint.cli"],
)
def test_the_doors_of_intake_start_on_a_machine_without_heavy_libraries(module):
    code = BLOCKER.format(heavy=HEAVY, module=module)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_no_source_file_is_longer_than_400_lines():
    long = {p: n for p in tracked("*.py") if (n := len((ROOT / p).read_text().splitlines())) > 400}
    assert long == {}


def test_sql_stands_only_in_the_sql_folder():
    verbs = ("select ", "insert into ", "update ", "delete from ")
    found = [
        path
        for path in tracked("deepbrainprint/*.py")
        if "database/migrations" not in path
        for line in (ROOT / path).read_text().splitlines()
        if line.strip().strip("\"'(").lower().startswith(verbs) and "%(" in line
    ]
    assert found == []


def test_no_python_file_loads_pickles():
    assert [
        p for p in tracked("deepbrainprint/*.py") if "import pickle" in (ROOT / p).read_text()
    ] == []
