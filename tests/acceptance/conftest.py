"""One stack for all acceptance tests: the demo starts it and leaves it up."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

COMMAND = (sys.executable, "-m", "deepbrainprint.cli")


@dataclass(frozen=True)
class Service:
    """A running stack under `home`, and what the demo that started it printed."""

    home: Path
    demo: dict[str, Any]
    demo_exit_code: int

    def ask(self, *words: str) -> Any:
        """The JSON document of one command."""
        return json.loads(run(*words, "--json", "--home", str(self.home)).stdout)

    def settled(self, *, studies: int, seconds: float = 900.0) -> list[dict[str, Any]]:
        """All studies, once there are so many and every one has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.ask("studies")
            if len(found) >= studies and all(study["ended_at"] for study in found):
                return found
            time.sleep(2)
        pytest.fail(f"not settled: {[(s['study_id'], s['state']) for s in found]}")


def run(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run one command of ours."""
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, check=check, timeout=1500
    )


@pytest.fixture(scope="session")
def service():
    # not under pytest's own folder, which is closed to PostgreSQL's account when root runs this
    with tempfile.TemporaryDirectory(prefix="acceptance-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        played = run("demo", "--home", str(home), "--json", check=False)
        assert played.stdout, played.stderr
        yield Service(home, json.loads(played.stdout), played.returncode)
        run("down", "--home", str(home), check=False)
