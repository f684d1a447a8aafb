"""From settings to what will run: ports, addresses, environments, parts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from deepbrainprint.settings import PREFIX, Settings
from deepbrainprint.stack import airflow
from deepbrainprint.stack.layout import Layout
from deepbrainprint.stack.ledger import StackInfo
from deepbrainprint.stack.part import Part
from deepbrainprint.stack.ports import choose_port
from deepbrainprint.stack.postgres import database_url

SERVICES = {  # part and its command
    "listener": "listen",
    "dispatcher": "dispatch",
    "dicomweb": "dicomweb",
}
_SECRET_OF_DISPATCHER = "airflow_password"  # noqa: S105 — the name of a setting


@dataclass(frozen=True)
class Plan:
    """Settings with everything chosen, where that is, and what differs from the defaults."""

    settings: Settings
    airflow_port: int
    info: StackInfo


def plan_stack(layout: Layout, settings: Settings) -> Plan:
    """Choose ports and addresses. Misconfigured when a port the site asked for is taken."""
    listener_port, airflow_port = _choose_ports(settings)
    further = _further_ports(settings)
    host = urlsplit(settings.airflow_url).hostname or "127.0.0.1"
    chosen = settings.model_copy(
        update={
            "home": layout.home,
            "database_url": _database_url(layout, settings),
            "listener_port": listener_port,
            "airflow_url": f"http://{host}:{airflow_port}",
            "unknown_senders": _unknown_senders(settings),
            **further,
        }
    )
    notes = (*_notes(settings, listener_port, airflow_port), *_warnings(chosen))
    return Plan(chosen, airflow_port, _info(layout, chosen, notes))


def service_parts(layout: Layout, settings: Settings) -> list[Part]:
    """Listener, dispatcher and DICOMweb."""
    environment = environment_of(settings, without=[_SECRET_OF_DISPATCHER])
    password = airflow.read_password(layout, settings.airflow_user)
    signed_in = settings.model_copy(update={_SECRET_OF_DISPATCHER: SecretStr(password)})
    environments = {"dispatcher": environment_of(signed_in)}
    return [
        Part(
            name,
            (sys.executable, "-m", "deepbrainprint.cli", command),
            environments.get(name, environment),
            layout.log(name),
            ours=True,
        )
        for name, command in SERVICES.items()
    ]


def airflow_environment(layout: Layout, settings: Settings) -> dict[str, str]:
    """What Airflow and its tasks see."""
    environment = environment_of(settings, without=[_SECRET_OF_DISPATCHER])
    return environment | airflow.airflow_environment(layout, settings)


def environment_of(settings: Settings, *, without: Iterable[str] = ()) -> dict[str, str]:
    """Our environment, with exactly these settings and no leftover of another Airflow."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith((PREFIX, "AIRFLOW", "_AIRFLOW"))
    }
    told = sorted(settings.model_fields_set - set(without))
    values = {name: getattr(settings, name) for name in told}
    return kept | {
        PREFIX + name.upper(): _text(value) for name, value in values.items() if value is not None
    }


def _choose_ports(settings: Settings) -> tuple[int, int]:
    listener = choose_port(
        settings.listener_port,
        host=settings.listener_host,
        setting="DBP_LISTENER_PORT",
        explicit="listener_port" in settings.model_fields_set,
    )
    url = urlsplit(settings.airflow_url)
    pages = choose_port(
        url.port or 8080,
        host=url.hostname or "127.0.0.1",
        setting="DBP_AIRFLOW_URL",
        explicit="airflow_url" in settings.model_fields_set,
    )
    return listener, pages


def _further_ports(settings: Settings) -> dict[str, int]:
    """Ports that may lie elsewhere without a word: people find them in `status`."""
    wanted = {"metrics_port": settings.metrics_host, "dicomweb_port": settings.dicomweb_host}
    return {
        name: choose_port(
            getattr(settings, name),
            host=host,
            setting=PREFIX + name.upper(),
            explicit=name in settings.model_fields_set,
        )
        for name, host in wanted.items()
        if getattr(settings, name)
    }


def _unknown_senders(settings: Settings) -> str:
    """A trial must work at once: here senders are accepted unless the site says otherwise."""
    return settings.unknown_senders if "unknown_senders" in settings.model_fields_set else "accept"


def _warnings(settings: Settings) -> tuple[str, ...]:
    if settings.unknown_senders != "accept":
        return ()
    return ("anyone may send and query: set DBP_UNKNOWN_SENDERS=refuse before production",)


def _notes(settings: Settings, listener_port: int, airflow_port: int) -> tuple[str, ...]:
    wanted = urlsplit(settings.airflow_url).port or 8080
    moved = {
        "the DICOM listener": (settings.listener_port, listener_port),
        "Airflow": (wanted, airflow_port),
    }
    return tuple(
        f"port {asked} was taken: {who} is on {found}"
        for who, (asked, found) in moved.items()
        if asked != found
    )


def _info(layout: Layout, settings: Settings, notes: tuple[str, ...]) -> StackInfo:
    web = "https" if settings.tls_certificate else "http"
    return StackInfo(
        home=layout.home,
        airflow_url=settings.airflow_url,
        airflow_user=settings.airflow_user,
        password_file=airflow.password_file(layout),
        ae_title=settings.ae_title,
        listener_host=settings.listener_host,
        listener_port=settings.listener_port,
        database_url=settings.database_url.get_secret_value(),
        notes=notes,
        unknown_senders=settings.unknown_senders,
        tls_port=settings.tls_port if settings.tls_certificate else 0,
        metrics_url=f"http://{settings.metrics_host}:{settings.metrics_port}",
        dicomweb_url=f"{web}://{settings.dicomweb_host}:{settings.dicomweb_port}",
    )


def _database_url(layout: Layout, settings: Settings) -> SecretStr:
    if settings.database_url.get_secret_value():
        return settings.database_url
    return SecretStr(database_url(layout, "deepbrainprint"))


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
