"""From DICOM to decision: one run is one revision of one study.

**Started by** the dispatcher, never by hand or by a clock. The run id is the reference that every
task receives and returns: `study-<id>-r<revision>`. Nothing else travels through Airflow; pixels
and results lie under the study's folder and in PostgreSQL.

**Skipped** tasks are a normal end: the study holds no brain MRI that can be used, or a later
revision took its place. `deepbrainprint studies <id>` says which, and why.

**Failed** tasks: the last line of the task's log says what to do. A study that cannot be used
fails at once; whatever may pass is tried again with growing pauses. When the cause is gone, clear
the failed task: every step may be repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import dag
from step import step

if TYPE_CHECKING:
    from deepbrainprint.records import StudyRevision
    from deepbrainprint.settings import Settings


@step("convert", minutes=15)
def convert(settings: Settings, run: StudyRevision) -> StudyRevision:
    """DICOM series become NIfTI; each is classified, with a reason, and the usable ones kept."""
    from deepbrainprint.workflow import ingest

    return ingest.convert(settings, run)


@step("strip", minutes=30)
def strip(settings: Settings, run: StudyRevision) -> StudyRevision:
    """The brain is cut out, checked for plausibility and aligned to the MNI152 grid."""
    from deepbrainprint.workflow import ingest

    return ingest.strip(settings, run)


@step("slice", minutes=10)
def cut_slices(settings: Settings, run: StudyRevision) -> StudyRevision:
    """The axial slice at the lateral ventricles and pictures for the reviewer are cut."""
    from deepbrainprint.workflow import ingest

    return ingest.cut_slices(settings, run)


@step("encode", minutes=10)
def encode(settings: Settings, run: StudyRevision) -> StudyRevision:
    """The active encoder turns each slice into a fingerprint of unit length."""
    from deepbrainprint.workflow import ingest

    return ingest.encode(settings, run)


@step("link", minutes=10)
def link(settings: Settings, run: StudyRevision) -> StudyRevision:
    """Candidates are found and weighed; the verdict is recorded with its reasons."""
    from deepbrainprint.workflow import ingest

    return ingest.link(settings, run)


@dag(schedule=None, catchup=False, max_active_runs=4, doc_md=__doc__, tags=["deepbrainprint"])
def ingest_study() -> None:
    """Five steps, one after the other."""
    link(encode(cut_slices(strip(convert("{{ run_id }}")))))


ingest_study()
