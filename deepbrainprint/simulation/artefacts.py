"""What a scanner and a restless patient add to the picture: shading, motion and noise."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy import fft

from deepbrainprint.records import FloatArray
from deepbrainprint.simulation.deformation import random_scalar, stretched

COARSE_SHADING = (12, 12, 12)


def shaded(image: FloatArray, rng: Generator, *, strength: float) -> FloatArray:
    """The image under a smooth receive-coil bias; `strength` is its log standard deviation."""
    if strength <= 0:
        return image
    field = np.exp(strength * random_scalar(rng, COARSE_SHADING, knot_spacing=5))
    return image * stretched(field, (image.shape[0], image.shape[1], image.shape[2]))


def moved_during_scan(image: FloatArray, rng: Generator, *, shift_voxels: float) -> FloatArray:
    """The image of someone who changed place twice while k-space was filled along axis 1.

    Each of three stretches of phase-encoding lines sees the head at another place (translations
    only), which gives the ghosts and edges of real motion.
    """
    if shift_voxels <= 0:
        return image
    spectrum = fft.fft2(image, axes=(0, 1))
    lines = np.fft.fftfreq(image.shape[1])
    columns = np.fft.fftfreq(image.shape[0])
    for first, last in _stretches(rng, image.shape[1]):
        across, along = rng.normal(0, shift_voxels, 2)
        ramp = columns[:, None] * across + lines[None, first:last] * along
        spectrum[:, first:last] *= np.exp(-2j * np.pi * ramp)[:, :, None].astype(np.complex64)
    return np.asarray(np.abs(fft.ifft2(spectrum, axes=(0, 1))), dtype=np.float32)


def noisy(image: FloatArray, rng: Generator, *, sd: float) -> FloatArray:
    """Rician noise: magnitude of signal plus complex Gaussian noise (Gudbjartsson, Patz, 1995)."""
    if sd <= 0:
        return image
    real = rng.standard_normal(image.shape, dtype=np.float32)
    real *= np.float32(sd)
    real += image
    imaginary = rng.standard_normal(image.shape, dtype=np.float32)
    imaginary *= np.float32(sd)
    return np.hypot(real, imaginary, out=real)


def _stretches(rng: Generator, lines: int) -> list[tuple[int, int]]:
    """Two stretches of lines, outside the central fifth that fixes where the head is seen."""
    low, high = lines // 10, lines - lines // 10
    first = int(rng.integers(low, lines // 2 - low))
    return [(low, first + 1), (first + 1 + 2 * low, high)]
