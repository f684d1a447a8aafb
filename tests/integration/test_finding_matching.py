from __future__ import annotations

import re

from hypothesis import HealthCheck, given, settings, strategies

from deepbrainprint.database.finding import Page
from deepbrainprint.database.queries import named_queries
from deepbrainprint.intake.finding.attributes import ATTRIBUTES, Level
from deepbrainprint.intake.finding.matching import like_pattern
from deepbrainprint.intake.finding.question import default_attributes, question
from tests.rows import rows

GENERATE = """
with made as (
    insert into study (study_uid, calling_ae)
    select '1.2.3.' || n, 'GEN' from generate_series(1, %s) n returning study_id
), identified as (
    insert into identity.study_identity (study_id, patient_id, issuer, name, birth_date, sex,
        accession_number, study_date, study_time)
    select study_id, 'PID' || study_id, '', 'Family' || study_id || '^Given', '19700101', 'O',
        'ACC' || study_id, to_char(date '2000-01-01' + (study_id %% 9000)::int, 'YYYYMMDD'), '1200'
    from made
), listed as (
    insert into received_series (study_id, series_uid, modality, body_part, manufacturer, model)
    select study_id, '1.2.3.4.' || study_id, 'MR', '', '', '' from made
)
insert into identity.series_identity (study_id, series_uid, description, series_date, series_time)
select study_id, '1.2.3.4.' || study_id, '', '', '' from made;
insert into study_revision (study_id, revision) select study_id, 1 from study;
insert into instance (study_id, revision, series_uid, sop_instance_uid, sop_class_uid,
    transfer_syntax_uid, path, size_bytes, sha256, calling_ae)
select study_id, 1, '1.2.3.4.' || study_id, '1.2.3.4.5.' || study_id, '1', '1', study_id::text, 1,
    repeat('a', 64), 'GEN' from study
"""


QUESTIONS = [
    (Level.STUDY, {"StudyInstanceUID": "1.2.3.777"}, "study_study_uid_key"),
    (Level.STUDY, {"PatientID": "PID777"}, "study_identity_by_patient"),
    (Level.STUDY, {"PatientID": "PID777?*"}, "study_identity_by_patient_pattern"),
    (Level.STUDY, {"AccessionNumber": "ACC777"}, "study_identity_by_accession"),
    (Level.STUDY, {"AccessionNumber": "ACC777?*"}, "study_identity_by_accession_pattern"),
    (Level.STUDY, {"PatientName": "family777*"}, "study_identity_by_name"),
    (Level.STUDY, {"StudyDate": "20030101"}, "study_identity_by_date"),
    (Level.STUDY, {"StudyDate": "20030101-0107", "StudyTime": "08-16"}, "study_identity_by_date"),
    (Level.SERIES, {"SeriesInstanceUID": "1.2.3.4.777"}, "received_series_by_uid"),
    (Level.SERIES, {"PatientID": "PID777"}, "study_identity_by_patient"),
    (Level.IMAGE, {"SOPInstanceUID": "1.2.3.4.5.777"}, "instance_sop_instance_uid_key"),
    (Level.STUDY, {}, "study_pkey"),
    (Level.SERIES, {}, "received_series_pkey"),
    (Level.IMAGE, {}, "instance_pkey"),
    (Level.IMAGE, {"SeriesInstanceUID": "1.2.3.4.777"}, "instance_by_study"),
    (Level.IMAGE, {"StudyInstanceUID": "1.2.3.777"}, r"instance_(kept|by_study)"),
]


def test_the_usual_questions_are_answered_by_an_index(database):
    rows(database, GENERATE, 30_000)
    rows(database, "analyze")
    by_keyword = {attribute.keyword: attribute for attribute in ATTRIBUTES}
    for level, keys, index in QUESTIONS:
        values = {
            by_keyword[key]: value.replace("-0107", "-20030107") for key, value in keys.items()
        }
        asked = question(level, values, default_attributes(level), combined_times=True)
        name = {Level.STUDY: "find_studies", Level.SERIES: "find_series"}.get(
            level, "find_instances"
        )
        with database.transaction() as connection, connection.cursor() as cursor:
            page = Page(limit=500, with_counts=False)
            cursor.execute("explain " + named_queries()[name], {**vars(asked.sought), **vars(page)})
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert re.search(index, plan), plan
        assert "Seq Scan" not in plan, plan


def naive_match(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(naive_match(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in {"?", text[0]} and naive_match(pattern[1:], text[1:])


LETTERS = strategies.text("ab*?%_\\'é山^", max_size=6)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(pattern=LETTERS, text=LETTERS)
def test_wildcards_match_as_a_naive_matcher_does(database, pattern, text):
    [(matches,)] = rows(database, "select %s like %s", text, like_pattern(pattern))
    assert matches == naive_match(pattern, text)
