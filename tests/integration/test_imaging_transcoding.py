"""Every transfer syntax of PS3.5 that holds grey images becomes the pixels that were encoded."""

from __future__ import annotations

import subprocess
from copy import deepcopy

import imagecodecs
import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate

from deepbrainprint.errors import BadStudy
from deepbrainprint.imaging.convert import convert_one
from deepbrainprint.imaging.transcoding import READ_BY_DCM2NIIX, SUPPORTED
from tests.enhanced import multi_frame
from tests.scans import saved, series
from tests.world import assert_shows

pytest.importorskip("dcm2niix")

J2K = {"codecformat": "j2k", "reversible": True, "level": 0}
ENCODERS = {
    "1.2.840.10008.1.2.1.98": lambda a: a.astype(a.dtype.newbyteorder("<")).tobytes(),
    uid.JPEGLossless: lambda a: lossless(a, predictor=6),
    uid.JPEGLosslessSV1: lambda a: lossless(a, predictor=1),
    uid.JPEGLSLossless: imagecodecs.jpegls_encode,
    uid.JPEGLSNearLossless: imagecodecs.jpegls_encode,
    uid.JPEG2000Lossless: lambda a: imagecodecs.jpeg2k_encode(a, **J2K),
    uid.JPEG2000: lambda a: imagecodecs.jpeg2k_encode(a, **J2K),
    uid.HTJ2KLossless: imagecodecs.htj2k_encode,
    uid.HTJ2KLosslessRPCL: imagecodecs.htj2k_encode,
    uid.HTJ2K: imagecodecs.htj2k_encode,
}
LOSSY = {uid.JPEGBaseline8Bit: (8, 255), uid.JPEGExtended12Bit: (12, 4095)}
PLAIN = (
    uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian, uid.RLELossless,
)  # fmt: skip


def lossless(pixels, predictor, bits=16):
    return imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=predictor, bitspersample=bits)


def compressed(instance, syntax, encode, *, fragments=1):
    """A copy of `instance` with each frame encoded."""
    copy, pixels = deepcopy(instance), instance.pixel_array
    frames = pixels if pixels.ndim == 3 else pixels[np.newaxis]
    streams = [bytes(encode(np.ascontiguousarray(frame))) for frame in frames]
    copy.PixelData = encapsulate(streams, fragments_per_frame=fragments)
    copy["PixelData"].VR, copy["PixelData"].is_undefined_length = "OB", True
    copy.file_meta.TransferSyntaxUID = syntax
    return copy


def in_syntax(instances, syntax, folder):
    """The files of `instances` in an uncompressed, deflated or run-length transfer syntax."""
    files = saved(instances, folder)
    for path in files:
        dataset = pydicom.dcmread(path)
        if syntax == uid.RLELossless:
            dataset.compress(syntax, encoding_plugin="pydicom", generate_instance_uid=False)
        elif syntax == uid.ExplicitVRBigEndian:
            subprocess.run(["dcmconv", "+tb", path, path], check=True)
            continue
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(path, enforce_file_format=True)
    return files


def ranging(instances, lowest, highest, bits):
    """`instances` with values from `lowest` to `highest`, and one slice that is all zero."""
    rng = np.random.default_rng(bits)
    kind = "<i2" if lowest < 0 else "<u2"
    for number, one in enumerate(instances):
        one.PixelRepresentation, one.BitsStored, one.HighBit = int(lowest < 0), bits, bits - 1
        one.Columns = 29  # no multiple of a block
        pixels = rng.integers(lowest, highest + 1, (one.Rows, 29)) * (number != 3)
        one.PixelData = pixels.astype(kind).tobytes()
    return instances


def test_every_supported_syntax_is_tested_here():
    assert {*ENCODERS, *LOSSY, *PLAIN} == SUPPORTED


@pytest.mark.parametrize("syntax", ENCODERS)
def test_compressed_slices_are_the_pixels_that_were_encoded(tmp_path, syntax):
    instances = ranging(series(), 0, 65535, 16)
    sent = [compressed(one, syntax, ENCODERS[syntax]) for one in instances]
    convert_one(saved(sent, tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances)


@pytest.mark.parametrize("syntax", ENCODERS)
def test_a_compressed_multi_frame_object_is_the_frames_that_were_encoded(tmp_path, syntax):
    instances = series(slices=9)
    sent = compressed(multi_frame(instances), syntax, ENCODERS[syntax])
    convert_one(saved([sent], tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances)


@pytest.mark.parametrize("syntax", PLAIN)
@pytest.mark.parametrize("frames", ["apart", "some of one object"])
def test_uncompressed_deflated_and_run_length_slices_are_their_pixels(tmp_path, syntax, frames):
    instances = ranging(series(), 0, 65535, 16)
    sent = instances
    if frames != "apart":
        phase = deepcopy(instances[5:9])
        for one in phase:
            one.ImageType = ["ORIGINAL", "PRIMARY", "P", "NONE"]
        sent = [multi_frame([*phase, *instances])]
    convert_one(in_syntax(sent, syntax, tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances)


@pytest.mark.parametrize(("syntax", "bits", "highest"), [(s, *LOSSY[s]) for s in LOSSY])
def test_lossy_jpeg_of_8_and_12_bits_comes_close(tmp_path, syntax, bits, highest):
    instances = series()
    across, down = np.meshgrid(np.arange(32), np.arange(32))
    for number, one in enumerate(instances):
        smooth = highest * (np.sin((across + number) / 9) + np.cos(down / 7) + 2) / 4
        kind, one.BitsAllocated = ("<u1", 8) if bits == 8 else ("<u2", 16)
        one.BitsStored, one.HighBit, one.PixelRepresentation = bits, bits - 1, 0
        one.PixelData = smooth.astype(kind).tobytes()
    sent = [
        compressed(o, syntax, lambda a: imagecodecs.jpeg8_encode(a, level=99, bitspersample=bits))
        for o in instances
    ]
    convert_one(saved(sent, tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances, atol=highest * 0.005)


@pytest.mark.parametrize("predictor", range(1, 8))
def test_lossless_jpeg_of_each_predictor_keeps_values_that_wrap(tmp_path, predictor):
    instances = ranging(series(slices=9), -2048, 2047, 12)
    sent = [
        compressed(one, uid.JPEGLossless, lambda a: lossless(a.view("<u2"), predictor))
        for one in instances
    ]
    convert_one(saved(sent, tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances)


def test_negative_values_of_fewer_bits_than_are_allocated_keep_their_sign(tmp_path):
    instances = ranging(series(slices=9), -2048, 2047, 12)
    sent = [
        compressed(one, uid.JPEGLossless, lambda a: lossless(a.view("<u2") & 0xFFF, 1, bits=12))
        for one in instances
    ]
    convert_one(saved(sent, tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances)


def test_a_frame_in_several_fragments_is_put_together(tmp_path):
    instances = series(slices=9)
    encode = ENCODERS[uid.HTJ2KLosslessRPCL]
    sent = [compressed(one, uid.HTJ2KLosslessRPCL, encode, fragments=3) for one in instances]
    convert_one(saved(sent, tmp_path / "in"), tmp_path / "a.nii.gz")
    assert_shows(tmp_path / "a.nii.gz", instances)


@pytest.mark.parametrize("syntax", sorted(SUPPORTED - READ_BY_DCM2NIIX - set(PLAIN)))
def test_a_damaged_stream_is_named_by_instance(tmp_path, syntax):
    instances = series(number=7, slices=9)
    encode = ENCODERS.get(syntax, lambda a: imagecodecs.jpeg8_encode(a, bitspersample=12))
    sent = [compressed(one, syntax, encode) for one in instances]
    sent[4].PixelData = encapsulate([b"no image at all."])
    with pytest.raises(BadStudy) as error:
        convert_one(saved(sent, tmp_path / "in"), tmp_path / "a.nii.gz")
    assert error.value.code == "damaged_pixels"
    assert "series 7: pixels of instance 5 cannot be decoded from" in str(error.value)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.92"])
def test_a_syntax_that_cannot_be_read_is_named_with_what_to_do(tmp_path, syntax):
    sent = [compressed(one, syntax, lambda a: a.tobytes()) for one in series(number=7)]
    with pytest.raises(BadStudy) as error:
        convert_one(saved(sent, tmp_path / "in"), tmp_path / "a.nii.gz")
    assert error.value.code == "unsupported"
    assert uid.UID(syntax).name in str(error.value)
    assert "send it uncompressed" in str(error.value)


def test_the_stored_pixels_stay_whole_numbers(tmp_path):
    sent = [compressed(one, uid.HTJ2K, ENCODERS[uid.HTJ2K]) for one in series(slices=9)]
    convert_one(saved(sent, tmp_path / "in"), tmp_path / "a.nii.gz")
    assert nib.load(tmp_path / "a.nii.gz").get_data_dtype().kind in "iu"
