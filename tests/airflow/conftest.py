"""Airflow reads its home when it is first imported; tests must not touch the user's."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

DAGS = Path(__file__).resolve().parents[2] / "dags"

_HOME = tempfile.TemporaryDirectory(prefix="airflow-home-")  # removed when the tests end
os.environ["AIRFLOW_HOME"] = _HOME.name
sys.path.insert(0, str(DAGS))
