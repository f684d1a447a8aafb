"""A client of a running DICOMweb, and images that it can ask for."""

from __future__ import annotations

import pytest

from tests.instances import delivery, mr_image, receive
from tests.integration.web import serving


@pytest.fixture
def web(intake_settings, database):
    """A client with all rights, of the sender GATEWAY."""
    with serving(intake_settings, database) as client:
        yield client


@pytest.fixture
def filed(intake_settings, database):
    """Files an image whose attributes may be changed."""

    def file(**changes):
        image = mr_image(**{"StudyDate": "20261121", "StudyTime": "101500"} | changes)
        receive(intake_settings, database, delivery(image))
        return image

    return file
