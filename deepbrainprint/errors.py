"""The errors of the package, named by what the caller should do.

    DeepBrainPrintError
    ├── BadStudy          the data cannot be used; never retry; state and reason are recorded
    │   └── NotApplicable the data is fine but holds no brain MRI that we can use; not a failure
    ├── TryAgain          the world may be better in a minute; retry (the listener answers 0xA7xx)
    ├── Misconfigured     a person must change a setting; stop at start-up
    └── Conflict          someone else was first (409)

A message is one line that says what to do. It never holds patient identity: a study is named by
its surrogate id, a series by its number, an instance by its number.
"""

from __future__ import annotations

from typing import ClassVar


class DeepBrainPrintError(Exception):
    """Something went wrong in DeepBrainPrint."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "", *, code: str = "") -> None:
        """Take a one-line `message` and a stable machine-readable reason `code`."""
        self.code = code or type(self).__name__
        super().__init__(message or (type(self).__doc__ or "").strip())


class BadStudy(DeepBrainPrintError):
    """The data of this study cannot be used; sending it again unchanged will not help."""

    exit_code = 3


class NotApplicable(BadStudy):
    """The study holds no brain MRI that can be fingerprinted."""


class TryAgain(DeepBrainPrintError):
    """A resource is away for now; the same call may succeed in a minute."""

    exit_code = 4


class Misconfigured(DeepBrainPrintError):
    """A setting is wrong; a person must change it before the service can start."""

    exit_code = 5


class Conflict(DeepBrainPrintError):
    """Someone else was first; read the current state and decide again."""
