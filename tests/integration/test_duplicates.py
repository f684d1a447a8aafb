"""Series that came before under other UIDs are known by their pixels."""

from __future__ import annotations

import tracemalloc

import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    generate_uid,
)

from deepbrainprint.database.connection import Database
from deepbrainprint.database.duplicates import duplicates_of
from deepbrainprint.intake.closing.duplicates import note_study_pixels
from deepbrainprint.intake.closing.pixels import pixel_digest
from deepbrainprint.intake.spool import instance_path
from deepbrainprint.records import StudyId
from deepbrainprint.settings import Settings
from tests.instances import delivery, mr_image, receive
from tests.integration.completeness.test_completeness_real import files_of, send
from tests.rows import count, rows

SIZE = {"Rows": 32, "Columns": 32}


def pixels_of(number: int, size: int = 1024) -> bytes:
    return bytes((number * 7 + place * place) % 251 for place in range(size))


@pytest.fixture
def arrive(intake_settings: Settings, database: Database):
    """File one series of images with these pixels, and look at them; the id of its study."""

    def arrive(
        *pixels: bytes | None,
        study: str = "",
        series: int = 1,
        syntax: str = ExplicitVRLittleEndian,
        **changes: object,
    ) -> StudyId:
        study, series_uid = study or generate_uid(), generate_uid()
        for number, data in enumerate(pixels):
            image = mr_image(
                study_uid=study,
                SeriesInstanceUID=series_uid,
                SeriesNumber=series,
                InstanceNumber=number + 1,
                PixelData=data,
                **changes,
            )
            receive(intake_settings, database, delivery(image, syntax))
        [(study_id,)] = rows(database, "select study_id from study where study_uid = %s", study)
        note_study_pixels(intake_settings, database, study_id)
        return StudyId(study_id)

    return arrive


def found(database: Database, study_id: StudyId) -> list[tuple[int | None, int, int | None]]:
    with database.transaction() as connection:
        return [
            (one.series_number, one.original_study_id, one.original_series_number)
            for one in duplicates_of(connection, study_id)
        ]


def test_the_same_pixels_in_another_study_are_a_duplicate_of_the_first(arrive, database):
    images = [pixels_of(number) for number in range(5)]
    first = arrive(*images, series=3)
    again = arrive(*reversed(images), series=7, PatientName="Another^Name")
    third = arrive(*images, series=8)
    assert found(database, first) == []
    assert found(database, again) == [(7, first, 3)]
    assert found(database, third) == [(8, first, 3)]


def test_the_same_pixels_in_the_same_study_are_a_duplicate(arrive, database):
    study = generate_uid()
    first = arrive(*map(pixels_of, range(3)), study=study, series=5)
    assert arrive(*map(pixels_of, range(3)), study=study, series=6) == first
    assert found(database, first) == [(6, first, 5)]


@pytest.mark.parametrize(
    "images",
    [
        [pixels_of(0), pixels_of(1)],
        [pixels_of(0), pixels_of(1), pixels_of(3)],
        [pixels_of(0), pixels_of(1), pixels_of(2), pixels_of(2)],
    ],
    ids=["fewer", "other", "one twice"],
)
def test_other_pixels_or_another_number_of_images_are_no_duplicate(arrive, database, images):
    arrive(*map(pixels_of, range(3)))
    assert found(database, arrive(*images)) == []


def test_a_series_that_grows_is_compared_anew(arrive, database, intake_settings):
    study, images = generate_uid(), [pixels_of(number) for number in range(3)]
    first = arrive(*images, study=study)
    again = arrive(*images)
    assert len(found(database, again)) == 1
    [(series_uid,)] = rows(
        database, "select series_uid from received_series where study_id = %s", first
    )
    late = mr_image(study_uid=study, SeriesInstanceUID=series_uid, PixelData=pixels_of(9))
    receive(intake_settings, database, delivery(late))
    note_study_pixels(intake_settings, database, first)
    assert found(database, again) == []


@pytest.mark.parametrize(
    "pixels",
    [bytes(1024), b"\x07" * 1024, b"\x01\x02" * 512, b"\x01\x02\x03" * 341 + b"\x01", None, b""],
    ids=["zeros", "one value", "16 bit", "RGB", "no pixels", "empty"],
)
def test_images_that_show_nothing_are_like_no_other(arrive, database, pixels):
    first, second = arrive(pixels), arrive(pixels)
    assert found(database, first) == found(database, second) == []
    assert count(database, "series_pixels") == 0
    assert count(database, "instance_pixels") == 2


def test_empty_slices_at_the_ends_do_not_hide_a_duplicate(arrive, database):
    images = [bytes(1024), pixels_of(1), pixels_of(2), bytes(1024)]
    first = arrive(*images)
    assert len(found(database, arrive(*images))) == 1
    assert found(database, first) == []


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_how_the_header_is_encoded_does_not_matter(arrive, database, syntax):
    arrive(*map(pixels_of, range(3)))
    assert len(found(database, arrive(*map(pixels_of, range(3)), syntax=syntax))) == 1


def test_encapsulated_pixels_are_compared_without_their_offset_table(intake_settings, database):
    frames = [pixels_of(number, 400) for number in range(2)]
    digests = {
        digest_of(intake_settings, database, encapsulate(frames, has_bot=has_bot))
        for has_bot in (True, False)
    }
    [digest] = digests
    assert digest
    assert digest_of(intake_settings, database, encapsulate(frames[::-1])) != digest


def test_an_image_packed_into_next_to_nothing_is_like_no_other(intake_settings, database):
    assert digest_of(intake_settings, database, encapsulate([b"\x01\x02" * 10])) == ""


def digest_of(settings: Settings, database: Database, pixels: bytes) -> str:
    image = mr_image(PixelData=pixels)
    image["PixelData"].VR = "OB"
    image["PixelData"].is_undefined_length = True
    receive(settings, database, delivery(image, JPEG2000Lossless))
    path = settings.instances_folder / instance_path(image.SOPInstanceUID)
    return pixel_digest(path, pixels=32 * 32 * 2)


@pytest.mark.parametrize("name", ["FloatPixelData", "DoubleFloatPixelData"])
def test_pixels_of_floating_point_count_too(arrive, database, name):
    arrive(None, **{name: pixels_of(1)})
    assert len(found(database, arrive(None, **{name: pixels_of(1)}))) == 1


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_any_transfer_syntax_is_read_without_trouble(arrive, database, syntax):
    arrive(pixels_of(1), syntax=syntax)
    assert count(database, "instance_pixels") == 1


def test_a_file_that_cannot_be_read_leaves_its_series_for_later(arrive, database, intake_settings):
    study = generate_uid()
    image = mr_image(study_uid=study)
    receive(intake_settings, database, delivery(image))
    path = intake_settings.instances_folder / instance_path(image.SOPInstanceUID)
    path.rename(path.with_suffix(".away"))
    study_id = arrive(pixels_of(1), study=study)
    assert count(database, "instance_pixels") == 1
    path.with_suffix(".away").rename(path)
    note_study_pixels(intake_settings, database, study_id)
    assert count(database, "series_pixels") == 2


def test_a_large_object_is_not_loaded_whole(intake_settings, database):
    image = mr_image(PixelData=bytes(range(256)) * (1 << 17))  # 32 MiB
    receive(intake_settings, database, delivery(image))
    path = intake_settings.instances_folder / instance_path(image.SOPInstanceUID)
    tracemalloc.start()
    assert len(pixel_digest(path)) == 64
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


def test_real_series_are_known_when_they_come_again(intake_settings, database, shared_data):
    """Two reconstructions of one acquisition are two series; a copy under new UIDs is one."""
    folder = shared_data / "dicom" / "siemens_xa30_enhanced"
    send(intake_settings, database, files_of(folder))
    [(study_id,)] = rows(database, "select study_id from study")
    note_study_pixels(intake_settings, database, study_id)
    assert found(database, study_id) == []
    assert rows(database, "select count(*), count(distinct digest) from series_pixels") == [(3, 3)]


def test_a_real_copy_under_new_uids_is_known(intake_settings, database, shared_data, tmp_path):
    folder = shared_data / "dicom" / "repositioned_volunteer" / "HFS"
    send(intake_settings, database, files_of(folder))
    study, series = generate_uid(), generate_uid()
    for number, path in enumerate(files_of(folder)):
        copy = dcmread(path)
        copy.StudyInstanceUID, copy.SeriesInstanceUID = study, series
        copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        copy.save_as(tmp_path / f"{number}.dcm")
    send(intake_settings, database, files_of(tmp_path))
    for (study_id,) in rows(database, "select study_id from study order by study_id"):
        note_study_pixels(intake_settings, database, study_id)
    assert rows(database, "select study_id, original_study_id, images from duplicate_series") == [
        (2, 1, 35)
    ]
