"""One typed, frozen Settings, read from `DBP_*` environment variables. Only doors build it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

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
    unknown_senders: Literal["refuse", "quarantine", "accept"] = Field(
        "refuse", description="what becomes of associations from senders that nobody admitted"
    )
    require_called_ae: bool = Field(
        False, description="refuse associations that call another AE title than ours"
    )
    tls_certificate: Path | None = Field(
        None, description="our certificate chain, PEM; set it to serve DICOM over TLS"
    )
    tls_key: Path | None = Field(
        None, description="its private key, PEM, without a password; in the same file if not set"
    )
    tls_client_authority: Path | None = Field(
        None, description="authorities of which a TLS sender must show a certificate, PEM"
    )
    tls_port: int = Field(
        2762, ge=1, le=65535, description="TCP port of DICOM over TLS, beside the plain one"
    )
    plain_port_closed: bool = Field(False, description="serve DICOM over TLS only")
    network_seconds: float = Field(
        60.0, gt=0, description="silence, or time for one PDU, after which an association ends"
    )
    negotiation_seconds: float = Field(
        15.0, gt=0, description="time from a connection to its association request"
    )
    accept_private_storage: bool = Field(
        False, description="take every private SOP class and transfer syntax as storage"
    )
    metrics_host: str = Field("127.0.0.1", description="address of /metrics, /healthz, /readyz")
    metrics_port: int = Field(
        11180, ge=0, le=65535, description="port of /metrics, /healthz and /readyz; 0 for none"
    )
    commitment_port: int = Field(
        104,
        ge=1,
        le=65535,
        description="TCP port at which a requester of storage commitment takes its report, where "
        "`deepbrainprint commitment address` says nothing else",
    )
    commitment_retry_seconds: float = Field(
        10.0, gt=0, description="pause before such a report is offered again, doubled each time"
    )
    commitment_hours: float = Field(
        24.0, gt=0, description="time for which such a report is offered to its requester"
    )
    listener_workers: int = Field(
        0, ge=0, description="processes that receive; 0 means one for each processor, at most 4"
    )
    quiet_seconds: float = Field(
        60.0,
        gt=0,
        description="time without a new instance after which a study closes, until enough is "
        "known of how its sender pauses",
    )
    quiet_seconds_minimum: float = Field(
        20.0, gt=0, description="shortest such time that is learned from a sender's history"
    )
    quiet_seconds_maximum: float = Field(
        600.0, gt=0, description="longest such time that is learned from it"
    )
    incomplete_wait_seconds: float = Field(
        900.0, ge=0, description="time for which a quiet study that looks incomplete waits for more"
    )
    recount_sources: str = Field(
        "",
        description="PACS to ask how much a study has, by calling AE title: "
        "AE=host:port or AE=CALLED_AE@host:port, separated by commas",
    )
    retention_days: float = Field(
        0.0, ge=0, description="age at which the files of processed studies are deleted; 0: never"
    )
    quarantine_days: float = Field(
        0.0, ge=0, description="age at which what is held in quarantine is discarded; 0: never"
    )
    dispatch_seconds: float = Field(1.0, gt=0, description="pause between dispatcher rounds")
    maximum_open_runs: int = Field(4, ge=1, description="Airflow runs open at one time")
    most_answers: int = Field(
        10_000, ge=1, description="answers to one C-FIND or QIDO-RS query; the peer is told of more"
    )
    dicomweb_host: str = Field("127.0.0.1", description="address that DICOMweb binds")
    dicomweb_port: int = Field(8043, ge=1, le=65535, description="TCP port of DICOMweb")
    dicomweb_body_bytes: int = Field(
        64 << 30, ge=1, description="largest body of one STOW-RS request"
    )
    dicomweb_requests: int = Field(64, ge=1, description="DICOMweb requests served at one time")
    airflow_url: str = Field("http://127.0.0.1:8080", description="Airflow's API server")
    airflow_user: str = Field("admin", description="Airflow user of the dispatcher")
    airflow_password: SecretStr = Field(SecretStr(""), description="password of that user")
    pull_token: SecretStr = Field(
        SecretStr(""), description="bearer token that `deepbrainprint pull --url` shows to a PACS"
    )
    pull_token_file: Path | None = Field(
        None, description="file that holds that token; read anew at each pull"
    )
    encoder_path: Path | None = Field(
        None, description="folder of the encoder to use instead of the one shipped"
    )
    encoder_runtime: Literal["auto", "onnx", "torch", "tensorrt"] = Field(
        "auto", description="what runs encoders; auto: tensorrt where it can, else onnx"
    )
    encoder_threads: int = Field(2, ge=1, description="processor threads of an encoder")
    methods_path: Path | None = Field(
        None, description="folder of encoders of published methods, each in a folder of its name"
    )
    synthstrip_path: Path | None = Field(
        None, description="SynthStrip's weights, to find brains with instead of deepbet's"
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
