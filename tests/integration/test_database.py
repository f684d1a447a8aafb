from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import numpy as np
import psycopg2
import pytest

from deepbrainprint.database import decisions, pipeline
from deepbrainprint.database.arrivals import Arrival, record_arrivals
from deepbrainprint.database.connection import Database
from deepbrainprint.database.migrations import migrate, migration_files
from deepbrainprint.database.queries import named_queries, sql_folder
from deepbrainprint.errors import Misconfigured, TryAgain
from deepbrainprint.records import Decision, HeaderIdentity, Instance, Reason, State, Verdict
from tests.closing import close_quiet_studies

CATALOG = """
select 'column', table_schema || '.' || table_name, column_name,
       data_type || coalesce(column_default, '') || is_nullable
from information_schema.columns where table_schema in ('public', 'identity')
union all
select 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
from pg_constraint where connamespace in ('public'::regnamespace, 'identity'::regnamespace)
union all
select 'index', tablename, indexname, indexdef from pg_indexes
where schemaname in ('public', 'identity')
union all
select 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) from pg_trigger
where not tgisinternal
union all
select 'view', schemaname, viewname, definition from pg_views
where schemaname in ('public', 'identity')
union all
select 'function', '', proname, prosrc from pg_proc where pronamespace = 'public'::regnamespace
  and not exists (select 1 from pg_depend d where d.objid = pg_proc.oid and d.deptype = 'e')
order by 1, 2, 3
"""


def run(url: str, text: str, *, fetch: bool = False):
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(text)
        rows = cursor.fetchall() if fetch else []
    connection.close()
    return rows


@pytest.fixture
def empty_database_urls(postgres_url):
    names = [f"empty_{uuid4().hex}" for _ in range(2)]
    for name in names:
        run(postgres_url, f"create database {name}")
    yield [urlsplit(postgres_url)._replace(path=f"/{name}").geturl() for name in names]
    for name in names:
        run(postgres_url, f"drop database {name} with (force)")


def file_instance(database: Database, number: int = 1, content: str = "a"):
    path = Path(f"{number}.dcm")
    instance = Instance("1.2", "1.2.3", f"1.2.3.{number}", "1", "1", path, 1, content * 64, "A")
    with database.transaction() as connection:
        return record_arrivals(connection, [(instance, HeaderIdentity(patient_id="P"))])[0]


def test_migrations_add_up_to_the_schema(empty_database_urls):
    migrated, written = empty_database_urls
    migrate(Database(migrated))
    run(migrated, "drop table public.schema_migration")
    run(written, (sql_folder() / "schema.sql").read_text(encoding="utf-8"))
    assert run(migrated, CATALOG, fetch=True) == run(written, CATALOG, fetch=True)


def test_migrating_twice_changes_nothing(database):
    assert migrate(database) == []


def test_migration_files_are_numbered_without_a_gap():
    numbers = [int(path.name[:4]) for path in migration_files()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_query_is_valid_against_the_real_schema(database_url):
    for name, text in named_queries().items():
        plain = re.sub(r"%\(\w+\)s", "null", text).strip().rstrip(";")
        run(database_url, f"prepare {name} as {plain}")


def test_every_query_has_a_function_that_runs_it():
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in (sql_folder().parent / "deepbrainprint" / "database").glob("*.py")
    )
    assert [name for name in named_queries() if f'"{name}"' not in code] == []


def test_an_unreachable_server_asks_to_try_again():
    database = Database("postgresql://postgres@127.0.0.1:1/nothing")
    with pytest.raises(TryAgain, match="PostgreSQL does not answer"), database.transaction():
        pass


def test_a_missing_database_is_a_wrong_setting(database_url):
    url = urlsplit(database_url)._replace(path="/nobody_made_this").geturl()
    with pytest.raises(Misconfigured, match="DBP_DATABASE_URL"), Database(url).transaction():
        pass


def test_an_empty_database_asks_for_a_migration(empty_database_urls):
    with pytest.raises(Misconfigured, match="deepbrainprint migrate"):
        file_instance(Database(empty_database_urls[0]))


def test_a_late_instance_opens_the_next_revision_and_supersedes_on_closing(database):
    assert file_instance(database, 1).revision.revision == 1
    with database.transaction() as connection:
        assert [r.revision for r in close_quiet_studies(connection, quiet_seconds=0)] == [1]
    assert file_instance(database, 1).arrival is Arrival.REPEAT
    late = file_instance(database, 2).revision
    assert late.revision == 2
    with database.transaction() as connection:
        assert close_quiet_studies(connection, quiet_seconds=0) == [late]
        first = type(late)(late.study_id, 1)
        assert pipeline.revision_state(connection, first) is State.SUPERSEDED


def test_other_bytes_under_a_known_uid_are_a_conflict(database):
    file_instance(database, 1, "a")
    assert file_instance(database, 1, "b").arrival is Arrival.CONFLICT


def test_a_decision_can_be_appended_but_never_changed(database, database_url):
    run_of_study = file_instance(database).revision
    with database.transaction() as connection:
        bundle = pipeline.ensure_bundle(
            connection,
            encoder_version="e",
            encoder_digest="d",
            preprocessing_version="1",
            calibration={},
        )
        patient = decisions.insert_patient(connection)
        made = Decision(Verdict.NEW_PATIENT, (Reason.NO_CANDIDATE,), patient, (), 0)
        decisions.insert_decision(connection, run_of_study, made, bundle)
    for change in ("update decision set decided_by = 'x'", "delete from decision"):
        with pytest.raises(psycopg2.errors.RaiseException, match="appended"):
            run(database_url, change)


def test_another_file_under_a_known_encoder_version_is_refused(database):
    arguments = {"encoder_version": "e", "preprocessing_version": "1", "calibration": {}}
    with database.transaction() as connection:
        pipeline.ensure_bundle(connection, encoder_digest="one", **arguments)
        with pytest.raises(Misconfigured, match="new version"):
            pipeline.ensure_bundle(connection, encoder_digest="two", **arguments)


def test_a_fingerprint_comes_back_bit_for_bit():
    vector = np.random.default_rng(1).normal(size=512).astype(np.float32)
    assert np.array_equal(pipeline.vector_from(pipeline.vector_bytes(vector)), vector)
