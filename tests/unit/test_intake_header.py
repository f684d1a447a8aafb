"""What can be read out of encoded bytes, and what is refused."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies
from pydicom import Dataset, Sequence, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from deepbrainprint.errors import BadStudy
from deepbrainprint.intake.header import Header, is_valid_uid, read_header
from tests.instances import NAME, PATIENT_ID, encoded, mr_image

pytestmark = pytest.mark.filterwarnings("ignore:.*VR:UserWarning")  # bad objects are the point
SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]


def header_of(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> Header:
    return read_header(encoded(dataset, syntax), transfer_syntax_uid=syntax)


def refusal(data_set: bytes, syntax: str = ExplicitVRLittleEndian) -> str:
    with pytest.raises(BadStudy) as caught:
        read_header(data_set, transfer_syntax_uid=syntax)
    assert "\n" not in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_uids_and_identity_are_read_in_every_encoding(syntax: str):
    dataset = mr_image()
    header = header_of(dataset, syntax)
    assert header.study_uid == dataset.StudyInstanceUID
    assert header.sop_instance_uid == dataset.SOPInstanceUID
    assert header.identity.name == NAME
    assert header.identity.patient_id == PATIENT_ID


@pytest.mark.parametrize(
    ("terms", "name"),
    [
        ("ISO_IR 192", "Wang^XiaoDong=王^小东"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("ISO_IR 144", "Люкceмбypг"),
        ("ISO_IR 100", "Äneas^Rüdiger"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ],
)
def test_names_are_decoded_by_the_character_set(terms: str | list[str], name: str):
    dataset = mr_image(SpecificCharacterSet=terms)
    dataset.PatientName = name
    assert header_of(dataset).identity.name == name


@pytest.mark.parametrize("term", ["ISO-IR 192", "ISO IR 192", "iso_ir192"])
def test_a_misspelt_character_set_is_understood(term: str):
    raw = encoded(mr_image(SpecificCharacterSet="ISO_IR 192", PatientName="Müller"))
    raw = raw.replace(b"ISO_IR 192", term.ljust(10).encode())
    assert read_header(raw, transfer_syntax_uid=ExplicitVRLittleEndian).identity.name == "Müller"


@given(term=strategies.binary(min_size=10, max_size=10) | strategies.just(b"hex       "))
def test_no_character_set_makes_an_object_unreadable(term: bytes):
    raw = encoded(mr_image(SpecificCharacterSet="ISO_IR 192")).replace(b"ISO_IR 192", term)
    assert read_header(raw, transfer_syntax_uid=ExplicitVRLittleEndian).identity.patient_id


def test_a_nested_sequence_without_lengths_does_not_hide_what_follows():
    dataset = mr_image(ReferencedStudySequence=Sequence([Dataset()]))
    dataset.ReferencedStudySequence[0].StudyInstanceUID = "1.2.3"
    dataset["ReferencedStudySequence"].is_undefined_length = True
    assert header_of(dataset).study_uid == dataset.StudyInstanceUID


def test_a_thousand_nested_sequences_do_not_exhaust_the_stack():
    opening = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    nested = opening * 5000 + closing * 5000
    assert refusal(nested) == "no_uid"
    assert read_header(
        nested + encoded(mr_image()), transfer_syntax_uid=ExplicitVRLittleEndian
    ).study_uid


@pytest.mark.parametrize("attribute", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_an_object_without_one_of_its_uids_is_refused(attribute: str):
    assert refusal(encoded(mr_image(**{attribute: None}))) == "no_uid"


def test_a_uid_that_climbs_out_of_a_folder_is_refused():
    data_set = encoded(mr_image(StudyInstanceUID="1.2.33")).replace(b"1.2.33", b"../../")
    assert refusal(data_set) == "invalid_uid"


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("kept", [20, 100, 0.5, -1])
def test_a_truncated_object_is_refused(syntax: str, kept: float):
    data_set = encoded(mr_image(), syntax)
    cut = int(kept * len(data_set)) if isinstance(kept, float) else kept
    assert refusal(data_set[:cut], syntax) in {"truncated", "no_uid"}


def test_pixels_that_stop_early_are_called_truncated():
    assert refusal(encoded(mr_image())[:-7]) == "truncated"


def test_padding_behind_the_last_element_is_no_truncation():
    padded = encoded(mr_image()) + bytes(126)
    assert read_header(padded, transfer_syntax_uid=ExplicitVRLittleEndian).study_uid


def test_bytes_that_are_not_deflated_are_unreadable():
    assert refusal(b"\xff" * 64, DeflatedExplicitVRLittleEndian) == "unreadable"


def test_identity_is_cut_to_what_a_database_index_takes():
    header = header_of(mr_image(PatientID="7" * 40_000))
    assert header.identity.patient_id == "7" * 256


def test_identity_holds_no_control_characters():
    dataset = mr_image()
    raw = encoded(dataset).replace(NAME.encode(), NAME.replace("^", "\0").encode())
    assert "\0" not in read_header(raw, transfer_syntax_uid=ExplicitVRLittleEndian).identity.name


@pytest.mark.parametrize("text", ["1.2.840.10008.1.2", "2.25.01", "7"])
def test_a_uid_is_digits_and_dots(text: str):
    assert is_valid_uid(text)


@pytest.mark.parametrize(
    "text", ["", "1..2", ".1", "1.2.", "1.2/3", "../1", "1.٣", "1." * 32 + "1"]
)
def test_anything_else_is_no_uid(text: str):
    assert not is_valid_uid(text)


@settings(max_examples=300, deadline=None)
@given(data_set=strategies.binary(max_size=400), syntax=strategies.sampled_from(SYNTAXES))
def test_no_bytes_raise_anything_but_a_refusal(data_set: bytes, syntax: str):
    with suppress(BadStudy):
        read_header(data_set, transfer_syntax_uid=syntax)


@settings(max_examples=300, deadline=None)
@given(position=strategies.integers(0, 400), byte=strategies.integers(0, 255))
def test_no_damaged_byte_raises_anything_but_a_refusal(position: int, byte: int):
    data_set = bytearray(encoded(mr_image()))
    data_set[position] = byte
    with suppress(BadStudy):
        read_header(bytes(data_set), transfer_syntax_uid=ExplicitVRLittleEndian)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_real_objects_are_read_as_pydicom_reads_them(shared_data: Path):
    compared = 0
    for path in sorted((shared_data / "dicom").rglob("*")):
        try:
            theirs = dcmread(path, stop_before_pixels=True)
            ours = read_header(data_set_of(path), transfer_syntax_uid=syntax_of(path))
        except (InvalidDicomError, BadStudy, OSError, AttributeError):
            continue  # no DICOM file, or refused for a reason that other tests look at
        compared += 1
        assert ours.study_uid == theirs.StudyInstanceUID
        assert ours.series_uid == theirs.SeriesInstanceUID
        assert ours.sop_instance_uid == theirs.SOPInstanceUID
        assert ours.identity.name == str(theirs.get("PatientName") or "").strip()
        assert ours.identity.patient_id == str(theirs.get("PatientID") or "").strip()
        assert ours.identity.study_date == str(theirs.get("StudyDate") or "").strip()
    assert compared > 500


def data_set_of(path: Path) -> bytes:
    return path.read_bytes()[144 + read_file_meta_info(path).FileMetaInformationGroupLength :]


def syntax_of(path: Path) -> str:
    return str(read_file_meta_info(path).TransferSyntaxUID)
