"""Airflow reads its home when it is first imported; tests must not touch the user's."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

DAGS = Path(__file__).resolve().parents[2] / "dags"

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
sys.path.insert(0, str(DAGS))
