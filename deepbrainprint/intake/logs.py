"""One JSON object a line on stderr. What is logged holds no identity: nothing is filtered."""

from __future__ import annotations

import sys
import threading

import structlog


def log_as_json() -> None:
    """Send the log of this process to stderr as JSON, that of threads that die included."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    threading.excepthook = _log_dead_thread


def place_of(error: BaseException) -> str:
    """File and line that raised `error`; its message may quote a header and is not for a log."""
    trace = error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def _log_dead_thread(args: threading.ExceptHookArgs) -> None:
    structlog.get_logger().error(
        "thread_died",
        error=args.exc_type.__name__,
        place="" if args.exc_value is None else place_of(args.exc_value),
    )
