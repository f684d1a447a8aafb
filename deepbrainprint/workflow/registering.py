"""Brings a database up to date and makes the encoder known to it."""

from __future__ import annotations

from deepbrainprint.database import pipeline
from deepbrainprint.database.connection import Database
from deepbrainprint.database.migrations import migrate
from deepbrainprint.encoder.card import read_card
from deepbrainprint.imaging import PREPROCESSING_VERSION
from deepbrainprint.records import BundleId
from deepbrainprint.settings import Settings


def migrate_database(settings: Settings) -> list[str]:
    """Apply missing migrations and register the encoder; the names of what was applied."""
    database = Database(settings.database_url.get_secret_value(), maximum_connections=2)
    try:
        applied = migrate(database)
        register_encoder(settings, database)
    finally:
        database.close()
    return applied


def register_encoder(settings: Settings, database: Database) -> BundleId:
    """Register the encoder that the settings name; it decides when nothing else is active yet."""
    card = read_card(settings.encoder_path)
    with database.transaction() as connection:
        return pipeline.ensure_bundle(
            connection,
            encoder_version=card.version,
            encoder_digest=card.onnx_sha256,
            preprocessing_version=PREPROCESSING_VERSION,
            calibration=card.calibration,
        )
