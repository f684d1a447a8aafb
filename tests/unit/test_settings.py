from __future__ import annotations

import pytest
from pydantic import ValidationError

from deepbrainprint.errors import Misconfigured
from deepbrainprint.settings import load_settings


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("DBP_QUIET_SECONDS", "7.5")
    assert load_settings().quiet_seconds == 7.5


def test_an_unknown_variable_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("DBP_QUITE_SECONDS", "7.5")
    with pytest.raises(Misconfigured, match="DBP_QUITE_SECONDS is not a setting"):
        load_settings()


def test_a_value_out_of_range_names_its_variable(monkeypatch):
    monkeypatch.setenv("DBP_LISTENER_PORT", "70000")
    with pytest.raises(Misconfigured, match=r"^DBP_LISTENER_PORT: "):
        load_settings()


def test_a_refused_value_is_not_repeated(monkeypatch):
    monkeypatch.setenv("DBP_LISTENER_PORT", "secret-by-mistake")
    with pytest.raises(Misconfigured) as refused:
        load_settings()
    assert "secret-by-mistake" not in str(refused.value)


def test_secrets_do_not_show_in_the_text_of_settings(monkeypatch):
    monkeypatch.setenv("DBP_AIRFLOW_PASSWORD", "tell-nobody")
    assert "tell-nobody" not in repr(load_settings())


def test_settings_cannot_be_changed_after_start():
    with pytest.raises(ValidationError):
        load_settings().quiet_seconds = 1.0


def test_every_setting_says_what_it_means():
    assert [
        n for n, field in type(load_settings()).model_fields.items() if not field.description
    ] == []
