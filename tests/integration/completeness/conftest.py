"""A closer, images that arrive for it, and time that passes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from deepbrainprint.database.connection import Database
from deepbrainprint.intake.closing.closer import Closer
from deepbrainprint.settings import Settings
from tests.integration.open_studies import pass_time, send_images, waiting_settings


@pytest.fixture
def settings(intake_settings: Settings) -> Settings:
    return waiting_settings(intake_settings)


@pytest.fixture
def closer(settings: Settings, database: Database) -> Closer:
    return Closer(settings, database)


@pytest.fixture
def send(settings: Settings, database: Database) -> Callable[..., str]:
    """Lets images with these numbers arrive; see `send_images`."""
    return partial(send_images, settings, database)


@pytest.fixture
def later(database: Database) -> Callable[[float], None]:
    return partial(pass_time, database)
