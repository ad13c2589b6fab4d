"""What a session measures with, loaded before it connects: network, calibration, CT."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.errors import InferenceError
from inference.preprocess import InputPlan
from inference.segmenter import Segmenter, default_model_path
from navapp.config import Settings
from navapp.errors import ConfigError
from navapp.state import DropReason
from recon.mesh_io import read_mesh
from recon.surface import TriangleMesh
from tracking.calibration import (
    ProbeCalibration,
    Registration,
    find_calibration,
    load_calibration,
    load_registration,
    load_stylus,
)
from tracking.errors import CalibrationError
from tracking.transforms import Matrix

_CT_NAME = "CT_bone_model.stl"
_ORIENTATION = "MF"  # of every image inside the program: readers and senders bring it into it


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why an image gives no points, as a countable reason and as a sentence."""

    reason: DropReason
    sentence: str


@dataclass(frozen=True, slots=True)
class Equipment:
    """Everything that was loaded and checked; `surface` is in CT space, mm."""

    segmenter: Segmenter
    calibration: ProbeCalibration
    registration: Registration | None
    surface: TriangleMesh | None
    ct_paths: tuple[Path, ...]
    image_lag_s: float
    roi_px: tuple[int, int, int, int] | None

    def plan_for(self, image_size_px: tuple[int, int]) -> InputPlan:
        """How an image of this size is laid into the network.

        Raises
        ------
        InferenceError : where it cannot be.
        """
        return self.segmenter.prepare_for(image_size_px, self.calibration.spacing_mm, self.roi_px)

    def misfit(
        self, image_size_px: tuple[int, int], spacing_mm: tuple[float, float] | None
    ) -> Misfit | None:
        """Why an image cannot be used with this calibration, None where it can."""
        misfit = calibration_misfit(self.calibration, image_size_px, spacing_mm)
        if misfit is not None and misfit.reason is DropReason.BAD_IMAGE:
            return misfit
        try:
            self.plan_for(image_size_px)
        except InferenceError as error:
            return Misfit(DropReason.BAD_IMAGE, str(error))
        return misfit


def calibration_misfit(
    calibration: ProbeCalibration,
    image_size_px: tuple[int, int],
    spacing_mm: tuple[float, float] | None,
) -> Misfit | None:
    """Why an image cannot be placed with a calibration, None where it can."""
    other_kind = calibration.misfit(image_size_px, orientation=_ORIENTATION)
    if other_kind is not None:
        return Misfit(DropReason.BAD_IMAGE, other_kind)
    other_spacing = calibration.misfit(spacing_mm=spacing_mm)
    return Misfit(DropReason.HELD, other_spacing) if other_spacing else None


def load_equipment(settings: Settings, sweep: Path | None = None) -> Equipment:
    """Load everything that the settings name; without a name, what lies beside the sweep.

    Raises
    ------
    ConfigError, CalibrationError, ReconError, InferenceError : one line with file and reason.
    """
    geometry = settings.geometry
    calibration = load_probe_calibration(settings, sweep)
    ct_paths = geometry.ct or _nearest_ct(sweep)
    meshes = [read_mesh(path) for path in ct_paths]
    return Equipment(
        segmenter=Segmenter(settings.model.path or default_model_path(), settings.model.provider),
        calibration=calibration,
        registration=load_registration(geometry.registration) if geometry.registration else None,
        surface=join_meshes(meshes) if meshes else None,
        ct_paths=ct_paths,
        image_lag_s=image_lag_s(settings, calibration),
        roi_px=geometry.roi_px or calibration.roi_px,
    )


def load_probe_calibration(settings: Settings, sweep: Path | None) -> ProbeCalibration:
    """The calibration that the settings name, or the nearest one above the sweep.

    Raises
    ------
    ConfigError, CalibrationError : where there is none, or it cannot be used.
    """
    return load_calibration(settings.geometry.calibration or _nearest_calibration(sweep))


def stylus_tip(equipment: Equipment) -> Matrix | None:
    """T_stylus_tip, where the calibration's file holds one."""
    try:
        return load_stylus(equipment.calibration.source)
    except CalibrationError:
        return None


def image_lag_s(settings: Settings, calibration: ProbeCalibration) -> float:
    """The settings' lag, else the calibration's, else 0."""
    lag_s = settings.matching.image_lag_s
    return (calibration.image_lag_s or 0.0) if lag_s is None else lag_s


def join_meshes(meshes: list[TriangleMesh]) -> TriangleMesh:
    """Several bones as one surface."""
    offsets = np.cumsum([0, *(len(mesh.vertices_mm) for mesh in meshes)])
    return TriangleMesh(
        np.concatenate([mesh.vertices_mm for mesh in meshes]),
        np.concatenate(
            [mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=False)]
        ).astype(np.int32),
    )


def _nearest_calibration(sweep: Path | None) -> Path:
    found = find_calibration(sweep) if sweep is not None else None
    if found is None:
        where = f" beside or above {sweep}" if sweep is not None else ""
        raise ConfigError(
            f"no probe calibration{where}: name one with --calibration "
            "(our .toml, a PLUS .xml, or an UltraBones100k calibration.json)"
        )
    return found


def _nearest_ct(sweep: Path | None) -> tuple[Path, ...]:
    if sweep is None:
        return ()
    folder = sweep.resolve()
    candidates = (parent / _CT_NAME for parent in (folder, *folder.parents))
    return next(((path,) for path in candidates if path.is_file()), ())
