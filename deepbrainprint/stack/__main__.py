"""The supervisor as a process of its own: what `deepbrainprint up` leaves in the background."""

from __future__ import annotations

import sys

import structlog

from deepbrainprint.errors import DeepBrainPrintError
from deepbrainprint.settings import load_settings
from deepbrainprint.stack.supervisor import supervise


def main() -> int:
    """Run until told to stop; the exit code says why a start failed."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    log = structlog.get_logger()
    try:
        supervise(load_settings(), report=lambda words: log.info("stack", does=words))
    except DeepBrainPrintError as error:
        return error.exit_code
    return 0


sys.exit(main())
