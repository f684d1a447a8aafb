"""What a header is taken for: typical protocols of many vendors and field strengths.

Each row is what a scanner writes of one sequence. ADNI: Jack CR et al., J Magn Reson Imaging
2008;27:685, and the protocols of adni.loni.usc.edu; OASIS: Marcus DS et al., J Cogn Neurosci
2007;19:1498; HCP: Glasser MF et al., NeuroImage 2013;80:105; UK Biobank: Alfaro-Almagro F et al.,
NeuroImage 2018;166:400; MP2RAGE: Marques JP et al., NeuroImage 2010;49:1271; FGATIR: Sudhyadhom A
et al., NeuroImage 2009;47 Suppl 2:T44; MPM: Weiskopf N et al., Front Neurosci 2013;7:95; CISS, DIR
and the rest as vendors' default protocols have them.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from deepbrainprint.imaging.contrast import classify, weigh
from deepbrainprint.imaging.geometry import Geometry
from deepbrainprint.imaging.headers import read
from deepbrainprint.imaging.usability import judge
from deepbrainprint.imaging.weighting import fluid_null
from deepbrainprint.records import Contrast
from tests.scans import saved, series

HEAD = Geometry(
    176, 1.0, 1, 1.0, (1.0, 1.0), (256.0, 256.0, 176.0), (), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0)
)
SC, MULTI_SC = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.7.4"
SPECTRA, PDF = "1.2.840.10008.5.1.4.1.1.4.2", "1.2.840.10008.5.1.4.1.1.104.1"


def seq(scanning="", variant="", te=None, tr=None, ti=None, flip=None, three=True, **more):  # noqa: PLR0917 — columns of a table
    """Header elements of one sequence; blank and 0 stand for what a scanner leaves out."""
    return {
        "ScanningSequence": scanning.split(), "SequenceVariant": variant.split(),
        "EchoTime": te, "RepetitionTime": tr, "InversionTime": ti, "FlipAngle": flip,
        "MRAcquisitionType": "3D" if three else "2D", "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        "SeriesDescription": "", "ProtocolName": "", "SequenceName": None, **more,
    }  # fmt: skip


def kinds(*words):
    return {"ImageType": list(words)}


MPRAGE = seq("GR IR", "SP MP", 2.98, 2300, 900, 9)
FLAIR = seq("SE IR", "SK", 125, 11000, 2800, 90, three=False)
T2 = seq("SE", "SK", 96, 5000, None, 150, three=False)

CASES = {
    # T1w, prepared
    "ADNI3 Siemens MPRAGE 3 T": (MPRAGE, Contrast.T1W),
    "ADNI1 Siemens MPRAGE 1.5 T": (seq("GR IR", "SP MP", 3.61, 2400, 1000, 8), Contrast.T1W),
    "ADNI GE IR-SPGR 3 T, TR is the echo spacing": (seq("GR", "SS SP", 3.0, 7.3, 400, 11), Contrast.T1W),
    "ADNI GE MPRAGE 1.5 T": (seq("RM", "NONE", 3.8, 8.6, 1000, 8), Contrast.T1W),
    "ADNI Philips MPRAGE 3 T, no TI": (seq("GR", "MP", 3.1, 6.8, None, 9), Contrast.T1W),
    "OASIS Siemens Vision, TI 20": (seq("GR IR", "MP", 4.0, 9.7, 20, 10), Contrast.T1W),
    "HCP MPRAGE": (seq("GR IR", "SP MP", 2.14, 2400, 1000, 8), Contrast.T1W),
    "UK Biobank MPRAGE": (seq("GR IR", "SK SP MP", 2.01, 2000, 880, 8), Contrast.T1W),
    "UIH gre_fsp 3 T": (seq("GR", "SP", 3.1, 7.2, 750, 10), Contrast.T1W),
    "Canon MPRAGE": (seq("GR IR", "MP", 2.8, 5.8, 900, 9), Contrast.T1W),
    "7 T MPRAGE": (seq("GR IR", "SP MP", 2.2, 2600, 1100, 5, MagneticFieldStrength=7), Contrast.T1W),
    "MPRAGE that names neither IR nor TI": (seq("GR", "SP", 2.9, 2300, 0, 9), Contrast.T1W),
    "Siemens tfl by its name": (seq("GR", "SP", 2.9, 2300, 0, 9, SequenceName="*tfl3d1_16ns"), Contrast.T1W),
    "Hyperfine T1 64 mT": (seq("SE IR", "NONE", 6.4, 1500, 300, 90, MagneticFieldStrength=0.064), Contrast.T1W),
    "GE T1 FLAIR 3 T": (seq("SE IR", "SK", 24, 2500, 860, 111, three=False), Contrast.T1W),
    "T1 FLAIR with long TI": (seq("SE IR", "SK", 10, 3100, 1238, 111, three=False), Contrast.T1W),
    # T1w, not prepared
    "Siemens FLASH 2D": (seq("GR", "SP OSP", 2.46, 300, None, 80, three=False), Contrast.T1W),
    "GE FSPGR 3D": (seq("GR", "SS SP", 4.2, 10, None, 20), Contrast.T1W),
    "ICBM FLASH 1.5 T": (seq("GR", "SP", 9.2, 22, None, 30), Contrast.T1W),
    "VIBE after contrast agent": (seq("GR", "SP", 2.4, 5.8, None, 12, ContrastBolusAgent="GADOVIST"), Contrast.T1W_ENHANCED),
    "Hitachi RSSG 0.3 T, long echo": (seq("GR", "NONE", 14, 40, None, 45, MagneticFieldStrength=0.3), Contrast.T1W),
    "Siemens SE 1.5 T": (seq("SE", "NONE", 14, 540, None, 90, three=False), Contrast.T1W),
    "SE after gadolinium": (seq("SE", "NONE", 12, 600, None, 90, three=False, ContrastBolusAgent="Dotarem"), Contrast.T1W_ENHANCED),
    "T1 SPACE 3 T": (seq("SE", "SK SP", 11, 700, None, 120), Contrast.T1W),
    "Hitachi SE 0.2 T": (seq("SE", "NONE", 20, 450, None, 90, three=False, MagneticFieldStrength=0.2), Contrast.T1W),
    "agent says NO": (seq("SE", "NONE", 14, 540, None, 90, ContrastBolusAgent="NO"), Contrast.T1W),
    "MPM, T1w": (seq("GR", "SP", 2.34, 24.5, None, 21), Contrast.T1W),
    # FLAIR
    "Philips FLAIR 2D 3 T": (FLAIR, Contrast.FLAIR),
    "GE FLAIR 2D 1.5 T": (seq("SE IR", "SK", 120, 10002, 2200, 90, three=False), Contrast.FLAIR),
    "Siemens FLAIR 2D 3 T": (seq("SE IR", "SK SP MP", 81, 9000, 2500, 150, three=False), Contrast.FLAIR),
    "ADNI3 Siemens FLAIR SPACE": (seq("SE IR", "SK SP MP", 119, 4800, 1650, 120), Contrast.FLAIR),
    "UK Biobank FLAIR SPACE": (seq("SE IR", "SK SP MP", 395, 5000, 1800, 120), Contrast.FLAIR),
    "GE CUBE FLAIR": (seq("SE IR", "SK", 116, 6300, 1747, 90), Contrast.FLAIR),
    "Philips VISTA FLAIR": (seq("SE IR", "SK", 340, 4800, 1650, 90), Contrast.FLAIR),
    "UIH 3D FLAIR": (seq("SE IR", "SK", 396, 6300, 1780, 60), Contrast.FLAIR),
    "Canon FLAIR": (seq("SE IR", "SK", 105, 10000, 2700, 90, three=False), Contrast.FLAIR),
    "Hyperfine FLAIR 64 mT": (seq("SE IR", "NONE", 194, 4000, 1400, 90, MagneticFieldStrength=0.064), Contrast.FLAIR),
    "Hitachi FLAIR 0.3 T": (seq("SE IR", "NONE", 105, 10000, 1700, 90, three=False), Contrast.FLAIR),
    "7 T FLAIR SPACE": (seq("SE IR", "SK SP MP", 271, 8000, 2180, 120, MagneticFieldStrength=7), Contrast.FLAIR),
    "FLAIR after contrast agent": (FLAIR | {"ContrastBolusAgent": "Gadavist"}, Contrast.FLAIR),
    "IR without TI": (seq("SE IR", "SK", 110, 9000, None, 120, three=False), Contrast.FLAIR),
    "enhanced FLAIR, TI blank, stated": (seq("SE", "", 120, 9000, 0, 90, stated="FLUID_ATTENUATED"), Contrast.FLAIR),
    # T2w
    "Siemens TSE 3 T": (T2, Contrast.T2W),
    "T2w after contrast agent": (T2 | {"ContrastBolusAgent": "Gadavist"}, Contrast.T2W),
    "HCP T2 SPACE": (seq("SE", "SK SP", 565, 3200, None, 120), Contrast.T2W),
    "GE CUBE T2": (seq("SE", "SK", 99, 2500, 0, 90), Contrast.T2W),
    "GE PROPELLER T2": (seq("SE", "SK", 92, 4500, None, 160, three=False), Contrast.T2W),
    "Philips TSE 1.5 T": (seq("SE", "SK", 100, 4400, None, 90, three=False), Contrast.T2W),
    "Hyperfine T2 64 mT": (seq("SE", "NONE", 209, 2000, None, 90, MagneticFieldStrength=0.064), Contrast.T2W),
    "7 T hippocampal TSE": (seq("SE", "SK", 61, 8020, None, 134, three=False), Contrast.T2W),
    "STIR, long echo": (seq("SE IR", "SK", 60, 5000, 150, 150, three=False), Contrast.T2W),
    "STIR, short echo": (seq("SE IR", "SK", 30, 4500, 180, 150, three=False), Contrast.T2W),
    # proton density
    "Siemens PD TSE": (seq("SE", "SK", 11, 3000, None, 150, three=False), Contrast.PD),
    "ADNI1 dual echo, early": (seq("SE", "SK", 12, 3000, None, 150, three=False), Contrast.PD),
    "ADNI1 dual echo, late": (seq("SE", "SK", 96, 3000, None, 150, three=False), Contrast.T2W),
    "Hitachi FSE": (seq("SE", "SK", 12, 4000, None, 90, three=False), Contrast.PD),
    "MPM, PDw: below the Ernst angle": (seq("GR", "SP", 2.34, 24.5, None, 6), Contrast.PD),
    "DESPOT1, smallest angle": (seq("GR", "SP", 2.2, 6.5, None, 3), Contrast.PD),
    # MP2RAGE, FGATIR, DIR
    "MP2RAGE INV1": (seq("GR IR", "SP MP", 2.98, 5000, 700, 4), Contrast.OTHER),
    "MP2RAGE INV2": (seq("GR IR", "SP MP", 2.98, 5000, 2500, 5), Contrast.PD),
    "MP2RAGE UNI": (seq("GR IR", "SP MP", 2.98, 5000, None, 4, **kinds("DERIVED", "PRIMARY", "M", "ND", "UNI")), Contrast.T1W),
    "MP2RAGE T1 map": (seq("GR IR", "SP MP", 2.98, 5000, None, 4, **kinds("DERIVED", "PRIMARY", "M", "ND", "T1 MAP")), Contrast.DERIVED),
    "FGATIR 3 T": (seq("GR IR", "SP MP", 4.39, 3000, 409, 11), Contrast.OTHER),
    "DIR SPACE": (seq("SE IR", "SK SP MP", 318, 7500, 3000, 120), Contrast.OTHER),
    "Philips DIR": (seq("SE IR", "SK", 247, 5500, 2550, 90), Contrast.OTHER),
    # susceptibility
    "Siemens SWI 3 T": (seq("GR", "SP", 20, 28, None, 15), Contrast.SWI),
    "SWI 7 T, short echo": (seq("GR", "SP", 9, 21, None, 12, MagneticFieldStrength=7), Contrast.SWI),
    "T2* 2D": (seq("GR", "SP", 20, 620, None, 20, three=False), Contrast.SWI),
    "GE SWAN": (seq("GR", "SS SP", 23, 37, None, 15), Contrast.SWI),
    "field strength in gauss": (seq("GR", "SP", 14, 40, None, 45, MagneticFieldStrength=3000), Contrast.T1W),
    "SWI minimum projection": (seq("GR", "SP", 20, 28, None, 15, **kinds("DERIVED", "PRIMARY", "MNIP", "SWI")), Contrast.DERIVED),
    "SWI phase": (seq("GR", "SP", 20, 28, None, 15, **kinds("ORIGINAL", "PRIMARY", "P", "ND")), Contrast.OTHER),
    # diffusion, perfusion, function
    "DWI": (seq("EP", "SK SP", 90, 6300, None, 90, three=False, DiffusionBValue=1000.0), Contrast.DIFFUSION),
    "spin-echo EPI without b": (seq("EP SE", "NONE", 90, 6300, None, 90, three=False), Contrast.DIFFUSION),
    "Siemens DWI by its name": (seq("EP", "SK", 90, 6300, None, 90, **kinds("ORIGINAL", "PRIMARY", "DIFFUSION", "NONE")), Contrast.DIFFUSION),
    "ADC": (seq("EP", "SK", 90, 6300, None, 90, **kinds("DERIVED", "PRIMARY", "DIFFUSION", "ADC")), Contrast.DERIVED),
    "b 0 on a structural image": (MPRAGE | {"DiffusionBValue": 0.0}, Contrast.T1W),
    "BOLD": (seq("EP GR", "SK", 30, 2000, None, 77, three=False), Contrast.FMRI),
    "GE 3D ASL": (seq("RM", "SP", 10.5, 4844, 2025, 111, **kinds("ORIGINAL", "PRIMARY", "ASL")), Contrast.PERFUSION),
    "CBF map": (seq("RM", "SP", 10.5, 4844, 2025, 111, **kinds("DERIVED", "PRIMARY", "CBF")), Contrast.DERIVED),
    # vessels, balanced, field maps, Dixon, scouts
    "TOF that says so": (seq("GR", "SP", 3.6, 21, None, 18, AngioFlag="Y"), Contrast.OTHER),
    "GE TOF by scan options": (seq("GR", "SS SP", 2.7, 24, None, 15, ScanOptions=["FC", "VASCTOF_GEMS"]), Contrast.OTHER),
    "enhanced TOF": (seq("", "", 3.5, 23, None, 18, stated="TOF"), Contrast.OTHER),
    "CISS": (seq("GR", "SS", 5.4, 12.25, None, 70), Contrast.OTHER),
    "Philips bFFE": (seq("GR", "NONE", 2.3, 4.6, None, 45), Contrast.OTHER),
    "Dixon fat": (seq("SE", "SK", 11, 650, None, 150, **kinds("DERIVED", "PRIMARY", "DIXON", "FAT")), Contrast.OTHER),
    "Dixon water": (seq("SE", "SK", 11, 650, None, 150, **kinds("DERIVED", "PRIMARY", "DIXON", "WATER")), Contrast.T1W),
    "AAHead scout": (seq("GR", "SP", 1.37, 3.15, None, 8, coarse=True), Contrast.LOCALIZER),
    "localizer": (seq("GR", "SP", 5, 20, None, 40, **kinds("ORIGINAL", "PRIMARY", "LOCALIZER")), Contrast.LOCALIZER),
    "synthetic MR": (T2 | kinds("DERIVED", "PRIMARY", "SYNTHETIC", "T2"), Contrast.DERIVED),
    "PROPELLER as screen save": (T2 | kinds("DERIVED", "SECONDARY", "SCREEN SAVE"), Contrast.DERIVED),
    # enhanced multi-frame with blank or 0 timings
    "enhanced T1, timings 0": (seq("", "", 0, 0, 0, 0, stated="T1"), Contrast.T1W),
    "enhanced T2, timings blank": (seq("", "", stated="T2"), Contrast.T2W),
    "enhanced PD, timings blank": (seq("", "", stated="PROTON_DENSITY"), Contrast.PD),
    "enhanced T2*, timings blank": (seq("", "", stated="T2_STAR"), Contrast.SWI),
    "stated against the timings": (T2 | {"stated": "T1"}, Contrast.T2W),
    # no scans
    "secondary capture marked MR": (MPRAGE | {"SOPClassUID": SC}, Contrast.DERIVED),
    "scanned document": ({"SOPClassUID": MULTI_SC, "Modality": "OT"}, Contrast.DERIVED),
    "screenshot in colour": (MPRAGE | {"SamplesPerPixel": 3}, Contrast.DERIVED),
    "encapsulated PDF": ({"SOPClassUID": PDF, "Modality": "DOC"}, Contrast.REPORT),
    "structured report": ({"Modality": "SR", "Rows": None, "Columns": None}, Contrast.REPORT),
    "spectroscopy": (MPRAGE | {"SOPClassUID": SPECTRA}, Contrast.OTHER),
    "CT": ({"Modality": "CT"}, Contrast.OTHER),
}  # fmt: skip


def evidence_of(folder, facts, geometry=HEAD, **more):
    facts = dict(facts) | more
    stated, coarse = facts.pop("stated", ""), facts.pop("coarse", False)
    instance = series(slices=1)[0]
    if stated:
        group = Dataset()
        group.MRImageFrameTypeSequence = Sequence([Dataset()])
        group.MRImageFrameTypeSequence[0].AcquisitionContrast = stated
        instance.SharedFunctionalGroupsSequence = Sequence([group])
    (path,) = saved([instance], folder, **facts)
    if coarse:
        geometry = replace(geometry, step_mm=1.6, spacing_mm=(1.6, 1.6))
    return weigh([read(path)], geometry)


@pytest.mark.parametrize("name", CASES)
def test_a_header_is_taken_for_what_its_sequence_shows(tmp_path, name):
    facts, contrast = CASES[name]
    opinion = classify(evidence_of(tmp_path, facts))
    assert opinion.contrast is contrast, opinion
    assert opinion.reason
    assert 0 < opinion.confidence <= 1


WRONG = {
    Contrast.T1W: "T2 FLAIR", Contrast.T1W_ENHANCED: "t2_tse_tra", Contrast.FLAIR: "t1_mprage_sag", Contrast.T2W: "T1 MPRAGE",
    Contrast.PD: "ax dwi adc", Contrast.SWI: "T1 BRAVO", Contrast.DIFFUSION: "T1 MPRAGE", Contrast.PERFUSION: "T1 MPRAGE",
    Contrast.FMRI: "FLAIR", Contrast.LOCALIZER: "T1 MPRAGE", Contrast.DERIVED: "T1 MPRAGE", Contrast.REPORT: "T1 MPRAGE",
    Contrast.OTHER: "t1_mprage_sag",
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_description_changes_nothing_that_facts_decide(tmp_path, name):
    facts, contrast = CASES[name]
    told = {"SeriesDescription": WRONG[contrast], "ProtocolName": WRONG[contrast]}
    assert classify(evidence_of(tmp_path, facts, **told)).contrast is contrast


@pytest.mark.parametrize(
    ("description", "contrast"),
    [("", Contrast.T2W), ("t2_flair_tra", Contrast.FLAIR), ("T2 TSE", Contrast.T2W)],
)
def test_the_description_breaks_the_tie_of_a_t2w_or_flair_without_an_inversion(
    tmp_path, description, contrast
):
    tie = seq("SE", "SK", 120, 9000, None, 150, three=False, SeriesDescription=description)
    opinion = classify(evidence_of(tmp_path, tie))
    assert (opinion.contrast, opinion.confidence <= 0.7) == (contrast, True)


def test_the_description_breaks_the_tie_of_t1w_and_time_of_flight(tmp_path):
    tie = seq("GR", "SP", 3.6, 22, None, 20)
    assert classify(evidence_of(tmp_path, tie)).contrast is Contrast.T1W
    told = classify(evidence_of(tmp_path, tie, SeriesDescription="TOF_3D_multi-slab"))
    assert (told.contrast, "the description decides" in told.reason) == (Contrast.OTHER, True)


@pytest.mark.parametrize(
    ("volumes", "agent", "contrast"),
    [(1, "", Contrast.T1W), (60, "", Contrast.FMRI), (60, "Gadavist", Contrast.PERFUSION)],
)
def test_many_volumes_over_time_show_function_or_perfusion(tmp_path, volumes, agent, contrast):
    dynamic = seq("GR", "SP", 1.5, 4.5, None, 15, ContrastBolusAgent=agent)
    geometry = replace(HEAD, volumes=float(volumes))
    assert classify(evidence_of(tmp_path, dynamic, geometry)).contrast is contrast


def test_two_coarse_gradient_echoes_are_a_field_map(tmp_path):
    facts = seq("GR", "SP", 4.92, 488, None, 60, three=False)
    coarse = replace(HEAD, spacing_mm=(3.0, 3.0), step_mm=3.0)
    evidence = evidence_of(tmp_path, facts, coarse)
    assert classify(evidence).contrast is Contrast.T1W
    assert classify(replace(evidence, echoes=2)).contrast is Contrast.OTHER


def test_the_last_of_many_spin_echoes_is_hardly_trusted(tmp_path):
    evidence = replace(evidence_of(tmp_path, T2), echoes=8)
    assert classify(evidence).confidence < 0.4


def test_a_contrast_agent_is_named_whatever_the_contrast(tmp_path):
    opinion = classify(evidence_of(tmp_path, CASES["FLAIR after contrast agent"][0]))
    assert opinion.reason.endswith("contrast agent")


@pytest.mark.parametrize("words", ["OPP_PHASE", "UNI"])
def test_what_looks_odd_is_used_but_trusted_less(tmp_path, words):
    facts = seq("GR", "SP", 2.4, 5.8, None, 12, **kinds("DERIVED", "PRIMARY", "M", words))
    evidence = evidence_of(tmp_path, facts)
    judged = judge(classify(evidence), evidence)
    assert (judged.usable, judged.confidence < 0.5) == (True, True)


def test_part_of_a_head_is_used_and_said_to_be_one(tmp_path):
    evidence = evidence_of(tmp_path, MPRAGE, replace(HEAD, extent_mm=(256.0, 256.0, 80.0)))
    judged = judge(classify(evidence), evidence)
    assert (judged.usable, "part of a head: 80 mm" in judged.reason) == (True, True)


@pytest.mark.parametrize(
    ("repetition", "usual"), [(4800, 1650), (5000, 1800), (9000, 2500), (11000, 2800)]
)
def test_fluid_is_nulled_where_protocols_put_the_inversion(repetition, usual):
    assert fluid_null(repetition) == pytest.approx(usual, abs=150)
