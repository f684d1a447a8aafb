"""Under whose name a command acts."""

from __future__ import annotations

import os

import pytest

from deepbrainprint.cli.access import person


def test_who_used_sudo_is_named_and_not_root(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SUDO_USER", "weber")
    assert person() == "weber"


def test_the_account_is_named_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv("LOGNAME", "somebody-else")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert person() == "root"


def test_a_number_without_a_name_is_named_by_the_number(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert person() == "uid 54321"
