"""One typed, frozen Settings, read from `DBP_*` environment variables. Only doors build it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from deepbrainprint.errors import Misconfigured

PREFIX = "DBP_"


class Settings(BaseSettings):
    """Everything a site may set. Thresholds are not here: they are calibrated with an encoder."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    home: Path = Field(Path("deepbrainprint-home"), description="folder that holds all state")
    database_url: SecretStr = Field(
        SecretStr(""), description="PostgreSQL URL of the application database"
    )
    listener_host: str = Field("0.0.0.0", description="address the DICOM listener binds")  # noqa: S104 — modalities are other machines
    listener_port: int = Field(11112, ge=1, le=65535, description="TCP port of the DICOM listener")
    ae_title: str = Field("DEEPBRAINPRINT", min_length=1, max_length=16, description="our AE title")
    maximum_associations: int = Field(50, ge=1, description="associations served at one time")
    maximum_pdu_bytes: int = Field(1 << 20, ge=4096, description="largest PDU we offer to receive")
    minimum_free_bytes: int = Field(
        1 << 30, ge=0, description="free disk below which instances are refused with 0xA700"
    )
    low_free_bytes: int = Field(
        10 << 30, ge=0, description="free disk below which status and metrics warn"
    )
    journal_bytes: int = Field(
        20 << 30, ge=0, description="instances taken without PostgreSQL, then 0xA700"
    )
    journal_minutes: float = Field(
        60.0, ge=0, description="time for which they are taken without it"
    )
    listener_workers: int = Field(
        0, ge=0, description="processes that receive; 0 means one for each processor, at most 4"
    )
    quiet_seconds: float = Field(
        60.0, gt=0, description="time without a new instance after which a study closes"
    )
    dispatch_seconds: float = Field(1.0, gt=0, description="pause between dispatcher rounds")
    maximum_open_runs: int = Field(4, ge=1, description="Airflow runs open at one time")
    airflow_url: str = Field("http://127.0.0.1:8080", description="Airflow's API server")
    airflow_user: str = Field("admin", description="Airflow user of the dispatcher")
    airflow_password: SecretStr = Field(SecretStr(""), description="password of that user")
    encoder_path: Path | None = Field(
        None, description="folder of the encoder to use instead of the one shipped"
    )

    @property
    def instances_folder(self) -> Path:
        """Received objects, byte for byte as sent."""
        return self.home / "instances"

    @property
    def quarantine_folder(self) -> Path:
        """Objects that could not be filed, with a reason beside each."""
        return self.home / "quarantine"

    @property
    def journal_folder(self) -> Path:
        """Which stored instances PostgreSQL has not heard of yet."""
        return self.home / "journal"

    @property
    def studies_folder(self) -> Path:
        """What the pipeline makes: `<study id>/r<revision>/…`."""
        return self.home / "studies"

    @property
    def gallery_folder(self) -> Path:
        """FAISS snapshots: a cache that can always be rebuilt."""
        return self.home / "gallery"


def load_settings(**overrides: Any) -> Settings:
    """Build Settings from the environment; Misconfigured names the variable that is wrong."""
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX)
        and name.removeprefix(PREFIX).lower() not in Settings.model_fields
    )
    if unknown:
        raise Misconfigured(
            f"{unknown[0]} is not a setting: remove it or correct its name "
            f"(`deepbrainprint settings` lists them all)",
            code="unknown_setting",
        )
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
        raise Misconfigured(f"{name}: {first['msg']}", code="invalid_setting") from None
