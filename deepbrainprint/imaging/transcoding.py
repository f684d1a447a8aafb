"""Pixels of one DICOM object written again as Explicit VR Little Endian, for dcm2niix to read.

Needed for the transfer syntaxes (PS3.5 section 10 and annex A) that dcm2niix refuses, for JPEG
lossless with a selection value other than 1, which it decodes wrong where differences wrap, and
to take some of the frames of a multi-frame object.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.sequence import Sequence as Items

from deepbrainprint.errors import BadStudy
from deepbrainprint.imaging import values
from deepbrainprint.imaging.headers import ImageHeader

Pixels = npt.NDArray[np.integer]
Decoder = Callable[[bytes], Pixels]

ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
READ_BY_DCM2NIIX = frozenset(
    {
        uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian,
        uid.JPEGBaseline8Bit, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEGLSNearLossless,
        uid.JPEG2000Lossless, uid.JPEG2000, uid.RLELossless,
    }
)  # fmt: skip
DECODERS: dict[str, Decoder] = {
    uid.JPEGBaseline8Bit: imagecodecs.jpeg8_decode,
    uid.JPEGExtended12Bit: imagecodecs.jpeg8_decode,
    uid.JPEGLossless: imagecodecs.jpeg8_decode,
    uid.JPEGLosslessSV1: imagecodecs.jpeg8_decode,
    uid.JPEGLSLossless: imagecodecs.jpegls_decode,
    uid.JPEGLSNearLossless: imagecodecs.jpegls_decode,
    uid.JPEG2000Lossless: imagecodecs.jpeg2k_decode,
    uid.JPEG2000: imagecodecs.jpeg2k_decode,
    uid.HTJ2KLossless: imagecodecs.htj2k_decode,
    uid.HTJ2KLosslessRPCL: imagecodecs.htj2k_decode,
    uid.HTJ2K: imagecodecs.htj2k_decode,
}
READ_BY_PYDICOM = frozenset(
    {
        uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian, uid.RLELossless,
    }
)  # fmt: skip
SUPPORTED = READ_BY_DCM2NIIX | READ_BY_PYDICOM | frozenset(DECODERS) | {ENCAPSULATED_UNCOMPRESSED}
# what the codecs, and numpy for a frame that is too short, raise for a damaged stream
DAMAGED = (*values.BROKEN, RuntimeError)


def rewrite(header: ImageHeader, frames: Sequence[int], target: Path) -> None:
    """Write `frames` (numbers from 0) of the object of `header` to `target` in the order given.

    Raises
    ------
    BadStudy
        `damaged_pixels` when a frame cannot be decoded to the matrix that the header promises.

    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote values
            dataset = pydicom.dcmread(header.path)
            pixels = b"".join(_native(dataset, header, frames))
            _replace(dataset, pixels, frames, total=header.frames)
            pydicom.dcmwrite(target, dataset, enforce_file_format=True)
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the data
        raise BadStudy(
            f"series {header.series_number}: pixels of instance {header.instance_number} cannot be "
            f"decoded from {uid.UID(header.transfer_syntax_uid).name}: send the series again",
            code="damaged_pixels",
        ) from None  # a codec's words may quote the data


def _native(dataset: Dataset, header: ImageHeader, frames: Sequence[int]) -> Iterator[bytes]:
    """Bytes of each frame, little endian, rows × columns samples of Bits Allocated."""
    kind = np.dtype(f"<u{dataset.BitsAllocated // 8}")
    for pixels in _decoded(dataset, header, frames, kind):
        if pixels.shape != header.matrix:
            raise ValueError("the stream holds another matrix than the header")
        yield pixels.astype(kind).tobytes()


def _decoded(
    dataset: Dataset, header: ImageHeader, frames: Sequence[int], kind: np.dtype[Any]
) -> Iterator[Pixels]:
    if header.transfer_syntax_uid in READ_BY_PYDICOM:
        decoder = get_decoder(header.transfer_syntax_uid)
        plugin = "pydicom" if header.transfer_syntax_uid == uid.RLELossless else ""
        found = decoder.iter_array(dataset, indices=frames, raw=True, decoding_plugin=plugin)
        yield from (pixels for pixels, _ in found)
        return
    streams = _streams(dataset, header, frames)
    if header.transfer_syntax_uid == ENCAPSULATED_UNCOMPRESSED:
        rows, columns = header.matrix
        for stream in streams:
            yield np.frombuffer(stream, kind, count=rows * columns).reshape(rows, columns)
        return
    yield from map(DECODERS[header.transfer_syntax_uid], streams)


def _streams(dataset: Dataset, header: ImageHeader, frames: Sequence[int]) -> Iterator[bytes]:
    """The compressed bytes of each of `frames` (PS3.5 section A.4)."""
    stored = list(generate_frames(dataset.PixelData, number_of_frames=header.frames))
    yield from (stored[number] for number in frames)


def _replace(dataset: Dataset, pixels: bytes, frames: Sequence[int], *, total: int) -> None:
    dataset.PixelData = pixels + b"\0" * (len(pixels) % 2)
    dataset["PixelData"].VR = "OW"
    dataset["PixelData"].is_undefined_length = False
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    if "NumberOfFrames" in dataset:
        dataset.NumberOfFrames = len(frames)
    groups = values.items(dataset, "PerFrameFunctionalGroupsSequence")
    if len(groups) == total:
        _renumber(dataset, [groups[number] for number in frames])


def _renumber(dataset: Dataset, groups: Sequence[Dataset]) -> None:
    """One stack and one time point, in the order of the frames: dcm2niix sorts by these."""
    for number, group in enumerate(groups, start=1):
        for content in values.items(group, "FrameContentSequence"):
            content.StackID, content.InStackPositionNumber = "1", number
            content.TemporalPositionIndex, content.DimensionIndexValues = 1, [1, number]
    dataset.pop("DimensionIndexSequence", None)
    dataset.PerFrameFunctionalGroupsSequence = Items(groups)
