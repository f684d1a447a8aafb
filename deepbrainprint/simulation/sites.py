"""The scanners of a region: what each offers, and how its pictures differ from the others'.

All figures are chosen, to span what clinics have: 0.8 mm isotropic to 5 mm slices, 0.06 T to 7 T.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.random import Generator

from deepbrainprint.errors import BadStudy
from deepbrainprint.records import Contrast, FloatArray
from deepbrainprint.simulation.acquisition import Orientation, Protocol, Triple

ISOCENTRE_REACH_MM = 100.0  # where `bulge` is reached
T1W_SHARE = 0.5  # of scans, where a site may choose


class Defacing(StrEnum):
    """What is taken off a head before its scan leaves the site."""

    NEVER = "never"
    SOMETIMES = "sometimes"
    ALWAYS = "always"


@dataclass(frozen=True)
class Site:
    """One scanner. White matter in T1w is about 1; lengths in mm, chances 0…1.

    `spread` is the log standard deviation of its tissue brightness against the usual, `stretch` the
    error of its gradients along right, front and top, `bulge` the share by which a point 100 mm
    from the isocentre is moved outwards.
    """

    name: str
    protocols: tuple[Protocol, ...]
    noise: float
    bias: float
    spread: float
    stretch: Triple
    bulge: float
    defacing: Defacing = Defacing.NEVER
    motion_chance: float = 0.05
    loss_chance: float = 0.05  # that slices are missing

    @property
    def seed(self) -> int:
        """A number that depends on the name alone."""
        return int.from_bytes(self.name.encode()[:7], "big")

    def offers(self, contrast: Contrast) -> tuple[Protocol, ...]:
        """Its protocols of this contrast."""
        return tuple(protocol for protocol in self.protocols if protocol.contrast is contrast)

    def distorted(self, points: FloatArray) -> FloatArray:
        """Where what appears at `points` (3, …), mm from the isocentre, really lies."""
        reach = (points**2).sum(axis=0) / ISOCENTRE_REACH_MM**2
        stretch = 1 + np.reshape(self.stretch, (3,) + (1,) * (points.ndim - 1))
        return np.asarray(points * (stretch + self.bulge * reach), dtype=np.float32)


def _menu(*entries: tuple[Contrast, Orientation, Triple]) -> tuple[Protocol, ...]:
    return tuple(Protocol(contrast, plane, voxel) for contrast, plane, voxel in entries)


_T1W, _T2W, _FLAIR, _PD = Contrast.T1W, Contrast.T2W, Contrast.FLAIR, Contrast.PD
_AXIAL, _SAGITTAL, _CORONAL = Orientation.AXIAL, Orientation.SAGITTAL, Orientation.CORONAL

SITES: tuple[Site, ...] = (
    Site(
        "north-3t",
        _menu(
            (_T1W, _SAGITTAL, (0.8, 0.8, 0.8)),
            (_T2W, _SAGITTAL, (0.8, 0.8, 0.8)),
            (_FLAIR, _SAGITTAL, (1.0, 1.0, 1.0)),
        ),
        noise=0.025, bias=0.12, spread=0.06, stretch=(0.002, -0.001, 0.003), bulge=0.004,
        defacing=Defacing.ALWAYS,
    ),
    Site(
        "harbour-3t",
        _menu(
            (_T1W, _SAGITTAL, (1.0, 1.0, 1.0)),
            (_T1W, _AXIAL, (0.9, 0.9, 1.5)),
            (_T2W, _AXIAL, (0.8, 0.8, 3.0)),
            (_FLAIR, _AXIAL, (0.9, 0.9, 3.0)),
        ),
        noise=0.02, bias=0.15, spread=0.08, stretch=(-0.003, 0.002, 0.001), bulge=-0.003,
        defacing=Defacing.SOMETIMES,
    ),
    Site(
        "market-1.5t",
        _menu(
            (_T1W, _SAGITTAL, (1.0, 1.0, 1.2)),
            (_T2W, _AXIAL, (0.9, 0.9, 5.0)),
            (_FLAIR, _CORONAL, (1.0, 1.0, 4.0)),
            (_PD, _AXIAL, (0.9, 0.9, 3.0)),
        ),
        noise=0.035, bias=0.08, spread=0.1, stretch=(0.004, 0.004, -0.005), bulge=0.008,
        motion_chance=0.1,
    ),
    Site(
        "valley-1.5t",
        _menu(
            (_T1W, _AXIAL, (1.0, 1.0, 5.0)),
            (_T2W, _AXIAL, (1.0, 1.0, 5.0)),
            (_T2W, _CORONAL, (0.9, 0.9, 4.0)),
            (_FLAIR, _AXIAL, (1.0, 1.0, 5.0)),
        ),
        noise=0.03, bias=0.1, spread=0.12, stretch=(-0.005, 0.003, 0.004), bulge=-0.006,
        motion_chance=0.12, loss_chance=0.1,
    ),
    Site(
        "campus-7t",
        _menu(
            (_T1W, _SAGITTAL, (0.8, 0.8, 0.8)),
            (_T2W, _CORONAL, (0.8, 0.8, 2.0)),
            (_FLAIR, _SAGITTAL, (0.9, 0.9, 0.9)),
        ),
        noise=0.03, bias=0.22, spread=0.12, stretch=(0.001, 0.003, -0.002), bulge=0.006,
        defacing=Defacing.SOMETIMES,
    ),
    Site(
        "ward-0.06t",
        _menu(
            (_T1W, _AXIAL, (1.6, 1.6, 5.0)),
            (_T2W, _AXIAL, (1.6, 1.6, 5.0)),
            (_FLAIR, _AXIAL, (1.6, 1.6, 5.0)),
        ),
        noise=0.07, bias=0.15, spread=0.15, stretch=(0.006, -0.006, 0.005), bulge=0.012,
        motion_chance=0.15, loss_chance=0.1,
    ),
)  # fmt: skip


def site_called(name: str) -> Site:
    """The site of this name; BadStudy if there is none."""
    for site in SITES:
        if site.name == name:
            return site
    known = ", ".join(site.name for site in SITES)
    raise BadStudy(f"no scanner is called {name}: choose one of {known}", code="unknown_site")


def chosen(rng: Generator, home: Site, contrast: Contrast | None) -> tuple[Site, Protocol]:
    """A site and a protocol for one visit: at home every second time, if that offers it.

    BadStudy for a `contrast` that no site offers; None lets the site choose.
    """
    able = [site for site in SITES if contrast is None or site.offers(contrast)]
    if not able:
        raise BadStudy(
            f"no scanner offers {contrast}; use T1w, T2w, FLAIR or PD",
            code="contrast_not_simulated",
        )
    elsewhere = able[int(rng.integers(len(able)))]
    site = home if rng.random() < 0.5 and home in able else elsewhere
    return site, _protocol(rng, site, contrast)


def _protocol(rng: Generator, site: Site, contrast: Contrast | None) -> Protocol:
    if contrast is None:
        others = [one for one in site.protocols if one.contrast is not Contrast.T1W]
        usual = site.offers(Contrast.T1W)
        menu = usual if rng.random() < T1W_SHARE else tuple(others)
    else:
        menu = site.offers(contrast)
    return menu[int(rng.integers(len(menu)))]
