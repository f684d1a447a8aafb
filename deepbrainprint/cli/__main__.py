"""`python -m deepbrainprint.cli` is the same as `deepbrainprint`."""

from __future__ import annotations

from deepbrainprint.cli import main

main()
