"""Who may open an association, with the rulings in a real PostgreSQL."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from deepbrainprint.database.connection import Database
from deepbrainprint.database.senders import (
    NoticedSender,
    SenderRuling,
    noticed_senders,
    record_ruling,
)
from deepbrainprint.intake import admission as module
from deepbrainprint.intake.admission import Admission, Ruling, not_authorised
from deepbrainprint.intake.filing import Filing
from deepbrainprint.settings import Settings
from deepbrainprint.stack.layout import lay_out
from deepbrainprint.stack.plan import environment_of, plan_stack
from tests.instances import delivery
from tests.integration.services import closed_to_all, wait_until
from tests.integration.test_cli import run, says
from tests.rows import count, rows

SCANNER = "10.1.2.3"


@pytest.fixture(autouse=True)
def unconfigured_log() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def rule(database: Database, title: str, network: str = "any", **more: bool) -> None:
    with database.transaction() as connection:
        record_ruling(
            connection,
            SenderRuling(title, network, **{"admitted": True, **more}, decided_by="it"),
        )


def noticed(database: Database) -> list[NoticedSender]:
    with database.transaction() as connection:
        return noticed_senders(connection)


@pytest.fixture
def intake_settings(intake_settings: Settings) -> Settings:
    """As in production."""
    return intake_settings.model_copy(update={"unknown_senders": "refuse"})


@contextmanager
def admission(settings: Settings, database: Database, **changes: object) -> Iterator[Admission]:
    with Admission(settings.model_copy(update=changes), database) as made:
        yield made


def ask(
    made: Admission, calling: str = "MR1", address: str = SCANNER, called: str = "DEEPBRAINPRINT"
) -> Ruling:
    return made.decide(calling_ae=calling, called_ae=called, address=address)


def test_an_admitted_sender_may_send_but_not_query(intake_settings, database):
    rule(database, "MR1", "10.1.2.0/24")
    with admission(intake_settings, database) as made:
        ruling = ask(made, calling="MR1             ")
    assert (ruling.admitted, ruling.code, ruling.may_query) == (True, "", False)
    assert noticed(database) == []


def test_querying_is_a_right_of_its_own(intake_settings, database):
    rule(database, "WS1", may_query=True)
    with admission(intake_settings, database) as made:
        assert ask(made, calling="WS1").may_query


def test_an_unknown_sender_is_refused_with_dicoms_reason_and_a_command(intake_settings, database):
    with admission(intake_settings, database) as made, capture_logs() as log:
        ruling = ask(made)
    assert (ruling.admitted, ruling.reject) == (False, (1, 1, 3))
    assert ruling.words.endswith("deepbrainprint admit --address 10.1.2.3 MR1")
    [line] = [entry for entry in log if entry["event"] == "association_refused"]
    assert (line["ae"], line["address"], line["code"]) == ("MR1", SCANNER, "unknown_sender")


def test_an_admitted_sender_at_another_address_is_refused_and_told_apart(intake_settings, database):
    rule(database, "MR1", "10.1.2.3")
    with admission(intake_settings, database) as made:
        ruling = ask(made, address="10.9.9.9")
    assert (ruling.admitted, ruling.code) == (False, "other_address")
    assert "--address 10.9.9.9 MR1" in ruling.words


def test_a_denied_sender_is_refused_even_where_anyone_may_send(intake_settings, database):
    rule(database, "MR1", admitted=False)
    with admission(intake_settings, database, unknown_senders="accept") as made:
        assert ask(made).reject == (1, 1, 3)
        assert ask(made, calling="MR2").admitted


def test_in_a_trial_anyone_may_send_and_query_and_is_listed(intake_settings, database):
    with admission(intake_settings, database, unknown_senders="accept") as made:
        ruling = ask(made)
    assert ruling.admitted
    assert ruling.may_query
    assert [(one.calling_ae, one.outcome) for one in noticed(database)] == [("MR1", "accepted")]


def test_in_quarantine_mode_the_association_is_accepted_and_its_objects_are_not(
    intake_settings, database
):
    with admission(intake_settings, database, unknown_senders="quarantine") as made:
        ruling = ask(made)
    assert (ruling.admitted, ruling.quarantine, ruling.may_query) == (True, True, False)
    assert not_authorised(ruling).code == "unknown_sender"


def test_another_called_title_is_refused_where_the_site_wants_so(intake_settings, database):
    rule(database, "MR1")
    with admission(intake_settings, database, require_called_ae=True) as made:
        assert ask(made, called="OTHER").reject == (1, 1, 7)
        assert ask(made, called="DEEPBRAINPRINT  ").admitted
    with admission(intake_settings, database) as made:
        assert ask(made, called="OTHER").admitted


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_our_own_health_check_is_admitted_for_echo_alone(intake_settings, database, address):
    with admission(intake_settings, database, require_called_ae=True) as made:
        ruling = ask(made, calling="DEEPBRAINPRINT", address=address, called="ANY")
        elsewhere = ask(made, calling="DEEPBRAINPRINT")
    assert (ruling.admitted, ruling.verification_only) == (True, True)
    assert not elsewhere.admitted


def test_our_own_title_can_be_admitted_like_any_other(intake_settings, database):
    rule(database, "DEEPBRAINPRINT", "127.0.0.1")
    with admission(intake_settings, database) as made:
        ruling = ask(made, calling="DEEPBRAINPRINT", address="127.0.0.1")
    assert (ruling.admitted, ruling.verification_only) == (True, False)


def test_a_ruling_is_in_effect_within_seconds(intake_settings, database, monkeypatch):
    monkeypatch.setattr(module, "_REFRESH_SECONDS", 0.05)
    with admission(intake_settings, database) as made:
        assert not ask(made).admitted
        rule(database, "MR1")
        wait_until(lambda: ask(made).admitted, seconds=5)
        assert ask(made).admitted
        rule(database, "MR1", admitted=False)
        wait_until(lambda: not ask(made).admitted, seconds=5)
        assert not ask(made).admitted


def test_a_restart_without_postgresql_still_knows_its_senders(
    intake_settings, database, postgres_url
):
    rule(database, "MR1", "10.1.2.3")
    with admission(intake_settings, database):
        pass
    with (
        closed_to_all(postgres_url, database),
        admission(
            intake_settings, Database(intake_settings.database_url.get_secret_value())
        ) as made,
    ):
        assert ask(made).admitted
        assert ask(made, calling="MR2").reject == (1, 1, 3)
    assert (intake_settings.home / "senders.json").stat().st_mode & 0o777 == 0o600


def test_a_list_that_was_never_read_refuses_for_now_and_not_for_good(
    intake_settings, database, postgres_url
):
    with closed_to_all(postgres_url, database), admission(intake_settings, database) as made:
        assert ask(made).reject == (2, 3, 1)
        assert ask(made).code == "senders_unread"
    assert noticed(database) == []


def test_a_damaged_list_is_not_trusted(intake_settings, database, postgres_url):
    (intake_settings.home / "senders.json").write_text('[["MR1"')
    with closed_to_all(postgres_url, database), admission(intake_settings, database) as made:
        assert ask(made).reject == (2, 3, 1)


def test_a_first_start_has_nothing_to_complain_of(intake_settings, database):
    with capture_logs() as log, admission(intake_settings, database):
        pass
    assert log == []


def test_no_note_and_no_account_stands_in_the_file(intake_settings, database):
    with database.transaction() as connection:
        record_ruling(
            connection, SenderRuling("MR1", "any", True, note="Dr. Weber", decided_by="weber")
        )
    with admission(intake_settings, database):
        pass
    assert "eber" not in (intake_settings.home / "senders.json").read_text()


def test_refusals_are_counted_by_sender_address_and_reason(intake_settings, database):
    with admission(intake_settings, database) as made:
        for _ in range(3):
            ask(made, called="FOO\x07")
        ask(made, address="10.1.2.4")
    with admission(intake_settings, database) as made:
        ask(made)
    found = {one.address: one for one in noticed(database)}
    assert (found[SCANNER].times, found["10.1.2.4"].times) == (4, 1)
    assert found[SCANNER].first_at < found[SCANNER].last_at
    assert found[SCANNER].reason_code == "unknown_sender"


def test_refusals_while_postgresql_is_away_are_recorded_afterwards(
    intake_settings, database, postgres_url
):
    with admission(intake_settings, database) as made:
        with closed_to_all(postgres_url, database):
            ask(made)
            made.refresh()
            ask(made)
            made.refresh()
        made.refresh()
        assert [one.times for one in noticed(database)] == [2]


def test_an_odd_title_is_listed_escaped(intake_settings, database):
    with admission(intake_settings, database) as made:
        ruling = ask(made, calling="MR\x1b[31m1")
    assert "\x1b" not in ruling.words
    assert noticed(database)[0].calling_ae == "MR\\x1b[31m1"


def test_a_scan_of_the_port_does_not_fill_the_table(intake_settings, database, monkeypatch):
    monkeypatch.setattr(module, "_NOTICED_AT_ONCE", 2000)
    with admission(intake_settings, database) as made:
        for number in range(1100):
            ask(made, calling=f"X{number}")
    assert count(database, "noticed_sender") == 1000


def test_a_decision_costs_little(intake_settings, database):
    for number in range(300):
        rule(database, f"MR{number}", "10.1.2.0/24")
    with admission(intake_settings, database) as made:
        ask(made, calling="MR150")
        started = time.perf_counter()
        for _ in range(1000):
            assert ask(made, calling="MR150").admitted
        assert (time.perf_counter() - started) / 1000 < 0.001


def test_rulings_are_appended_never_changed(database):
    rule(database, "MR1")
    with pytest.raises(Exception, match="appended"):
        rows(database, "update sender_ruling set admitted = false")


# The commands


@pytest.fixture
def site(intake_settings) -> dict[str, str]:
    return {
        "DBP_HOME": str(intake_settings.home),
        "DBP_DATABASE_URL": intake_settings.database_url.get_secret_value(),
    }


def test_the_list_gives_the_command_that_admits_and_the_command_works(
    intake_settings, database, site
):
    with admission(intake_settings, database) as made:
        ask(made)
    listed = json.loads(run("senders", "--json", **site).stdout)
    [waiting] = listed["not_admitted"]
    assert waiting["command_to_admit"] == "deepbrainprint admit --address 10.1.2.3 MR1"
    assert waiting["command_to_admit"] in run("senders", **site).stdout
    done = run(*waiting["command_to_admit"].split()[1:], "--note", "3 T, room 4", **site)
    assert "MR1 may send from 10.1.2.3" in done.stdout, done.stderr
    with admission(intake_settings, database) as made:
        assert ask(made).admitted
    after = json.loads(run("senders", "--json", **site).stdout)
    assert after["not_admitted"] == []
    [ruling] = after["rulings"]
    assert (ruling["calling_ae"], ruling["note"], ruling["may_query"]) == (
        "MR1",
        "3 T, room 4",
        False,
    )
    assert ruling["decided_by"]


def test_admitting_a_sender_says_what_of_it_waits_in_quarantine(intake_settings, database, site):
    made = Admission(intake_settings.model_copy(update={"unknown_senders": "quarantine"}), database)
    made.refresh()
    filing = Filing(intake_settings, database)
    sent = delivery(calling_ae="MR1")
    with filing.begin(sent) as incoming:
        incoming.write(sent.data_set)
        filing.set_aside(incoming, not_authorised(ask(made)))
    said = run("admit", "MR1", **site).stdout
    assert "1 object of it waits in quarantine" in said
    command = said.strip().splitlines()[-1].split()
    assert command[-1] == "MR1"
    assert run(*command[1:], "--yes", **site).returncode == 0
    assert count(database, "instance") == 1


def test_deny_takes_back_what_was_admitted(intake_settings, database, site):
    run("admit", "MR1", "--address", "10.1.2.0/24", "--may-query", **site)
    run("deny", "MR1", **site)
    with admission(intake_settings, database) as made:
        assert ask(made).code == "denied_sender"
    assert "denied" in run("senders", **site).stdout


def test_the_list_says_in_words_what_becomes_of_others(site):
    assert "are refused" in run("senders", **site).stdout
    accepting = run("senders", **site, DBP_UNKNOWN_SENDERS="accept").stdout
    assert "set DBP_UNKNOWN_SENDERS=refuse before production" in accepting


@pytest.mark.parametrize(
    "words", [("admit", "A" * 17), ("admit", "MR1", "--address", "mr1.example"), ("deny", "A\\B")]
)
def test_what_cannot_be_a_sender_is_wrong_usage(words, site):
    assert run(*words, **site).returncode == 2


def test_admitting_without_postgresql_asks_to_try_again(site):
    away = site | {"DBP_DATABASE_URL": "postgresql://postgres@127.0.0.1:1/nothing"}
    says(run("admit", "MR1", **away), "PostgreSQL does not answer", code=4)


def test_an_unknown_mode_is_refused_by_name(site):
    says(run("senders", **site, DBP_UNKNOWN_SENDERS="maybe"), "DBP_UNKNOWN_SENDERS", code=5)


# A stack for trials


@pytest.mark.parametrize(
    ("chosen", "mode"), [({}, "accept"), ({"unknown_senders": "refuse"}, "refuse")]
)
def test_a_trial_stack_accepts_anyone_and_says_so_unless_the_site_chose(
    tmp_path: Path, chosen: dict[str, str], mode: str
):
    settings = Settings(home=tmp_path, listener_host="127.0.0.1", **chosen)
    plan = plan_stack(lay_out(settings), settings)
    assert plan.settings.unknown_senders == mode
    assert environment_of(plan.settings)["DBP_UNKNOWN_SENDERS"] == mode
    warned = [note for note in plan.info.notes if note.startswith("anyone may send")]
    assert len(warned) == (mode == "accept")
