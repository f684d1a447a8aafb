from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepbrainprint.errors import BadStudy, Misconfigured, TryAgain
from deepbrainprint.intake.pull.asks import (
    Ask,
    Kind,
    ask,
    ask_for_dates,
    read_list,
    without_repeats,
)
from deepbrainprint.intake.pull.clock import Clock
from deepbrainprint.intake.pull.contexts import MOST, storage_contexts
from deepbrainprint.intake.pull.dicomweb import WebSource
from deepbrainprint.intake.pull.multipart import boundary_of, parts
from deepbrainprint.intake.pull.pace import Pace
from deepbrainprint.intake.pull.source import Found, matching
from deepbrainprint.intake.pull.window import Window


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2024, 1, 1, hour, minute)  # noqa: DTZ001 — windows are in local time


NOON = at(12)


class FakeClock(Clock):
    def __init__(self, start: datetime = NOON) -> None:
        super().__init__()
        self.start = start
        self.passed = 0.0

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.passed)

    def seconds(self) -> float:
        return 1000.0 + self.passed

    def wait(self, seconds: float) -> None:
        self.passed += seconds


@pytest.mark.parametrize(
    ("window", "open_at", "closed_at"),
    [
        ("22:00-06:00", [at(22), at(23, 59), at(0), at(5, 59)], [at(6), at(12), at(21, 59)]),
        ("12:30-13:00", [at(12, 30), at(12, 59)], [at(12, 29), at(13), at(0)]),
    ],
)
def test_a_window_is_open_from_its_begin_to_just_before_its_end(window, open_at, closed_at):
    hours = Window.parse(window)
    assert [hours.is_open(moment) for moment in open_at] == [True] * len(open_at)
    assert [hours.is_open(moment) for moment in closed_at] == [False] * len(closed_at)


def test_waiting_for_a_window_ends_when_it_opens():
    clock = FakeClock(at(20, 15))
    Window.parse("22:00-06:00").wait(clock)
    assert at(22) <= clock.now() <= at(22, 1)


def test_an_open_window_is_not_waited_for():
    clock = FakeClock(at(23))
    Window.parse("22:00-06:00").wait(clock)
    assert clock.passed == 0


@pytest.mark.parametrize("text", ["", "22-6", "24:00-06:00", "22:00-22:00", "22:60-06:00"])
def test_what_is_no_window_is_refused(text):
    with pytest.raises(BadStudy, match="22:00-06:00"):
        Window.parse(text)


@pytest.mark.parametrize(("rate", "things", "seconds"), [(10.0, 51, 5.0), (60 / 3600, 3, 120.0)])
def test_a_pace_is_kept(rate, things, seconds):
    clock = FakeClock()
    pace = Pace(rate, clock)
    for _ in range(things):
        pace.wait()
        pace.count()
    assert clock.passed == pytest.approx(seconds)


def test_a_pace_is_made_up_for_after_many_came_at_once():
    clock = FakeClock()
    pace = Pace(10.0, clock)
    pace.count(50)
    pace.wait()
    assert clock.passed == pytest.approx(5.0)


def test_time_that_was_not_used_is_no_credit():
    clock = FakeClock()
    pace = Pace(1.0, clock)
    pace.count()
    clock.wait(100)
    pace.count()
    pace.wait()
    assert clock.passed == pytest.approx(101)


def test_without_a_rate_nobody_waits():
    clock = FakeClock()
    pace = Pace(None, clock)
    pace.count(1000)
    pace.wait()
    assert clock.passed == 0


def values(asks: list[Ask]) -> list[tuple[str, str, str]]:
    return [(one.kind, one.value, one.place) for one in asks]


def test_a_plain_list_holds_one_value_a_line_and_empty_lines_do_not_count():
    assert values(read_list("A1\n\n A2 \n", None)) == [
        ("accession", "A1", "line 1"),
        ("accession", "A2", "line 3"),
    ]


def test_a_plain_list_holds_what_the_user_says_it_holds():
    assert values(read_list("P-1", Kind.PATIENT)) == [("patient", "P-1", "line 1")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "name,Accession Number\nx,A1\ny,A2\n",
            [("accession", "A1", "line 2"), ("accession", "A2", "line 3")],
        ),
        ("\ufeffPatientID;when\nP1;today\n", [("patient", "P1", "line 2")]),
        ("patient_id\tstudy_instance_uid\nP1\t1.2.3\n", [("study", "1.2.3", "line 2")]),
        ('accession\n"A,1"\n', [("accession", "A,1", "line 2")]),
    ],
)
def test_a_csv_list_is_read_by_the_column_that_its_title_names(text, expected):
    assert values(read_list(text, None)) == expected


def test_of_several_known_columns_the_one_that_was_asked_for_is_read():
    text = "PatientID,AccessionNumber\nP1,A1\n"
    assert values(read_list(text, Kind.PATIENT)) == [("patient", "P1", "line 2")]


@pytest.mark.parametrize("text", ["A*", "A?1", "A\\B", "A" * 65, "a\x1bb"])
def test_a_value_that_would_match_more_than_itself_is_refused_by_its_line_alone(text):
    with pytest.raises(BadStudy, match=r"^line 2 ") as caught:
        read_list(f"A1\n{text}\n", None)
    assert text not in str(caught.value)
    assert caught.value.code == "bad_ask"


def test_an_empty_list_is_refused():
    with pytest.raises(BadStudy, match="empty"):
        read_list("\n\n", None)


def test_the_same_value_is_asked_for_once_where_it_came_first():
    asks = [ask(Kind.ACCESSION, value, f"line {n}") for n, value in enumerate("ABA", start=1)]
    assert [one.place for one in without_repeats(asks)] == ["line 1", "line 2"]


def test_an_ask_does_not_show_its_value():
    assert "SECRET" not in repr(ask(Kind.PATIENT, "SECRET", "line 1"))


@pytest.mark.parametrize("text", ["2024-02-28..2024-03-01", "20240228-20240301"])
def test_a_range_of_dates_is_asked_for_day_by_day(text):
    assert list(ask_for_dates(text).days()) == ["20240228", "20240229", "20240301"]


def test_one_day_is_a_range_too():
    assert list(ask_for_dates("2024-02-28").days()) == ["20240228"]


@pytest.mark.parametrize(
    "text", ["yesterday", "2024-02-30", "2024-03-01..2024-02-28", "2000-01-01..2024-01-01", "2024"]
)
def test_what_is_no_range_of_dates_is_refused(text):
    with pytest.raises(BadStudy, match="--dates"):
        ask_for_dates(text)


def found(uid="1.2", *, modalities=("MR",), **said):
    return Found(uid, 1, frozenset(modalities), **said)


def test_answers_that_were_not_asked_for_are_left_out():
    wanted = ask(Kind.ACCESSION, "a1", "line 1")
    answers = [
        found("1", accession="A1 "),
        found("2", accession="A10"),
        found("3"),
        found("", accession="A1"),
    ]
    assert [study.study_uid for study in matching(answers, wanted, ("MR",))] == ["1"]


def test_a_patients_studies_of_other_modalities_are_left_out_and_a_named_study_is_not():
    answers = [found("1", modalities=("CT",), patient="P", accession="A"), found("2", patient="P")]
    by_patient = matching(answers, ask(Kind.PATIENT, "P", "-"), ("MR",))
    by_accession = matching(answers, ask(Kind.ACCESSION, "A", "-"), ("MR",))
    assert [study.study_uid for study in by_patient] == ["2"]
    assert [study.study_uid for study in by_accession] == ["1"]


def test_a_day_outside_the_range_is_left_out():
    answers = [found("1", day="20240102"), found("2", day="2024.01.03"), found("3", day="20240104")]
    wanted = ask_for_dates("2024-01-02..2024-01-03")
    assert [study.study_uid for study in matching(answers, wanted, ())] == ["1", "2"]


def test_every_class_of_a_study_has_contexts_within_what_one_association_carries():
    usual = storage_contexts()
    assert len(usual) <= MOST
    assert len({(c.abstract_syntax, c.transfer_syntax[0]) for c in usual}) == len(usual)
    many = storage_contexts(f"1.2.{number}" for number in range(100))
    assert len(many) == MOST
    assert {str(context.abstract_syntax) for context in many} == {f"1.2.{n}" for n in range(100)}


def multipart(contents: list[bytes], boundary: bytes = b"x") -> bytes:
    body = b"".join(
        b"\r\n--" + boundary + b"\r\nContent-Type: application/dicom\r\n\r\n" + content
        for content in contents
    )
    return body[2:] + b"\r\n--" + boundary + b"--\r\n"


@given(
    contents=st.lists(st.binary(max_size=200).filter(lambda b: b"\r\n--x" not in b), min_size=1),
    size=st.integers(1, 64),
)
def test_parts_come_out_as_they_went_in_however_the_body_is_cut(contents, size):
    body = multipart(contents)
    chunks = (body[start : start + size] for start in range(0, len(body), size))
    assert [b"".join(content) for content in parts(chunks, "x")] == contents


def test_a_part_that_nobody_reads_is_skipped():
    body = multipart([b"first", b"second"])
    contents = parts([body], "x")
    next(contents)
    assert b"".join(next(contents)) == b"second"


def test_a_large_part_is_never_held_whole():
    chunk = bytes(1 << 16)

    def body():
        yield multipart([b""])[: -len(b"\r\n--x--\r\n")]
        yield from (chunk for _ in range(64))
        yield b"\r\n--x--\r\n"

    [content] = [[len(piece) for piece in part] for part in parts(body(), "x")]
    assert sum(content) == 64 << 16
    assert max(content) <= 2 << 16


@pytest.mark.parametrize("cut", [3, 20, 50, -4, -9])
def test_a_body_that_ends_too_early_is_an_error_that_may_pass(cut):
    with pytest.raises(TryAgain) as caught:
        [list(content) for content in parts([multipart([b"content"])[:cut]], "x")]
    assert caught.value.code == "pacs_broke_off"


@pytest.mark.parametrize(
    ("header", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=abc', "abc"),
        ('multipart/related; boundary="a b"', "a b"),
        ("application/dicom", ""),
        ("", ""),
    ],
)
def test_the_boundary_stands_in_the_content_type(header, boundary):
    assert boundary_of(header) == boundary


@pytest.mark.parametrize(
    ("url", "token", "code"),
    [
        ("ftp://pacs/x", "", "bad_url"),
        ("https://user:word@pacs/dicom-web", "", "bad_url"),
        ("https://pacs/dicom-web?key=1", "", "bad_url"),
        ("http://pacs/dicom-web", "token", "token_unsafe"),
    ],
)
def test_an_address_that_gives_a_secret_away_is_refused_without_repeating_it(url, token, code):
    with pytest.raises(Misconfigured) as caught:
        WebSource(url, name="PACS", token=token)
    assert caught.value.code == code
    assert "word" not in str(caught.value).replace("password", "")
