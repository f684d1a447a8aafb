"""How we set up pynetdicom, once for each process."""

from __future__ import annotations

import logging
import warnings

from pynetdicom import _config


def configure_pynetdicom() -> None:
    """Keep its log quiet and its checks out of the way of what we check ourselves."""
    _config.LOG_HANDLER_LEVEL = "none"  # its own log would format every message, identity included
    silent = logging.getLogger("pynetdicom")
    silent.addHandler(logging.NullHandler())
    silent.propagate = False
    _config.VALIDATORS["UI"] = lambda _: (True, "")  # a bad UID is refused by us, not by an abort
    warnings.filterwarnings("ignore", module="pydicom|pynetdicom")
