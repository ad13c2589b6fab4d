"""Finding T_ct_reference in a session: landmarks touched or picked, then the surface."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from navapp.errors import ConfigError
from recon.registration import RegistrationResult, register_cloud
from recon.surface import SurfaceDistance
from tracking.calibration import Registration
from tracking.calibration.landmarks import LandmarkFit, fit_landmarks
from tracking.calibration.sections import provenance, read_document, section_hash, write_section
from tracking.transforms import Matrix, apply

Array = NDArray[np.float64]

_LEAST_PAIRS = 3


@dataclass(frozen=True, slots=True)
class Landmark:
    """One place on the bone: where it is in CT, and where it was found on the patient."""

    name: str
    ct_mm: Array
    reference_mm: Array | None = None


@dataclass(slots=True)
class Registering:
    """The steps towards a registration; one thread works with it.

    `start` is what the landmarks give, `refined` what the surface makes of it; `chosen` is the
    landmark that is to be found, or found again, out of turn.
    """

    landmarks: list[Landmark] = field(default_factory=list)
    start: LandmarkFit | None = None
    refined: RegistrationResult | None = None
    chosen: int | None = None

    def add(self, name: str, ct_mm: Array) -> None:
        """Another landmark of the CT, to be found on the patient."""
        self.landmarks.append(Landmark(name or f"L{len(self.landmarks) + 1}", ct_mm))
        self._forget()

    def find(self, k: int, reference_mm: Array) -> None:
        """The k-th landmark was touched, or picked, at this place of the patient."""
        self.landmarks[k] = replace(self.landmarks[k], reference_mm=reference_mm)
        self.chosen = None
        self._forget()

    def choose(self, k: int | None) -> None:
        """Find the k-th landmark next; it stays where it was found until then. None: in turn."""
        self.chosen = k

    def choose_next(self) -> None:
        """Choose the landmark after the chosen one; after the last one none."""
        k = 0 if self.chosen is None else self.chosen + 1
        self.chosen = k if k < len(self.landmarks) else None

    def remove(self, k: int) -> None:
        """Forget the k-th landmark."""
        del self.landmarks[k]
        self.chosen = None
        self._forget()

    @property
    def next_to_find(self) -> int | None:
        """The chosen landmark, else the first that was not yet found on the patient."""
        if self.chosen is not None:
            return self.chosen
        unfound = (k for k, mark in enumerate(self.landmarks) if mark.reference_mm is None)
        return next(unfound, None)

    def begin_again(self) -> str:
        """Forget what was found; where nothing was, the landmarks too. Returns what went."""
        n_found, n = self.n_found, len(self.landmarks)
        self.landmarks = self.begun_anew().landmarks if n_found else []
        self.chosen = None
        self._forget()
        if n_found:
            return f"{n_found} found places forgotten; the landmarks in CT stay"
        return f"{n} landmarks in CT removed" if n else "there are no landmarks"

    def begun_anew(self) -> Registering:
        """The same landmarks of the CT, none of them found yet."""
        return Registering([replace(mark, reference_mm=None) for mark in self.landmarks])

    @property
    def n_found(self) -> int:
        return sum(mark.reference_mm is not None for mark in self.landmarks)

    def fit(self) -> LandmarkFit:
        """Bring the pairs together.

        Raises
        ------
        ConfigError, CalibrationError : too few, or no fit; with the number that shows it.
        """
        pairs = [mark for mark in self.landmarks if mark.reference_mm is not None]
        if len(pairs) < _LEAST_PAIRS:
            raise ConfigError(f"{len(pairs)} landmarks are found, expected {_LEAST_PAIRS} or more")
        reference_mm = np.array([mark.reference_mm for mark in pairs])
        ct_mm = np.array([mark.ct_mm for mark in pairs])
        self.refined = None
        self.start = fit_landmarks(reference_mm, ct_mm)
        return self.start

    def refine(self, points_reference_mm: Array, surface: SurfaceDistance) -> RegistrationResult:
        """Let the cloud slide onto the surface from where the landmarks put it; in what the
        surface does not tell, as along a bone, it stays there.

        Raises
        ------
        ConfigError, ReconError : no start, too few points, or no registration.
        """
        start = self.start
        if start is None:
            raise ConfigError("the surface needs a start: fit the landmarks first")
        sigma_mm = start.expected_tre_mm(points_reference_mm.mean(axis=0))
        refined = register_cloud(
            points_reference_mm, surface, start.T_target_source, start_sigma_mm=sigma_mm
        )
        if self.start is start:  # else the landmarks are others by now
            self.refined = refined
        return refined

    @property
    def T_ct_reference(self) -> Matrix | None:
        """The best there is so far; None before the landmarks were fitted."""
        if self.refined is not None:
            return self.refined.T_ct_reference
        return None if self.start is None else self.start.T_target_source

    def lines(self) -> list[str]:
        """What speaks for it, for a person."""
        said = []
        if self.start is not None:
            fre, out = self.start.fre, self.start.left_out_mm
            said.append(f"landmarks: {fre.rms:.2f} mm RMS over {fre.n}, worst {fre.max:.2f} mm")
            if np.isfinite(out).all():  # of three landmarks, two are left, which tell nothing
                said.append(f"each by the others: {np.sqrt(np.mean(out**2)):.2f} mm RMS")
        if self.refined is not None:
            said.append(f"surface: {self.refined.verdict()}")
            said.append(f"held out: {self.refined.held_out.rms:.2f} mm RMS")
            said.append(f"two halves disagree by {self.refined.halves_disagree_mm:.2f} mm")
        return said

    def save(self, path: Path) -> Registration:
        """Write `[registration]` with its residuals, and give it as a session takes it.

        Raises
        ------
        ConfigError, CalibrationError : there is none yet, or the file cannot be written.
        """
        T_ct_reference = self.T_ct_reference
        if T_ct_reference is None or self.start is None:
            raise ConfigError("there is no registration to accept: fit the landmarks first")
        method = "landmarks" if self.refined is None else "landmarks, then surface"
        n_samples = self.n_found if self.refined is None else self.refined.n_inliers
        residual = self.start.fre if self.refined is None else self.refined.residual
        values = {
            "T_ct_reference": T_ct_reference.tolist(),
            "residual": residual.as_section("mm"),
            "provenance": provenance(method, [], n_samples),
        }
        write_section(path, "registration", values)
        return Registration(T_ct_reference, path, section_hash(read_document(path)["registration"]))

    def found_ct_mm(self) -> Array:
        """Where the found landmarks lie in CT by the registration so far, (n, 3)."""
        found = [mark.reference_mm for mark in self.landmarks if mark.reference_mm is not None]
        T_ct_reference = self.T_ct_reference
        if T_ct_reference is None or not found:
            return np.empty((0, 3))
        return apply(T_ct_reference, np.array(found))

    def _forget(self) -> None:
        self.start = self.refined = None


def load_landmarks(path: Path) -> list[tuple[str, Array]]:
    """`[[landmark]]` tables with `name` and `ct_mm`, of a TOML file.

    Raises
    ------
    ConfigError : if it cannot be read or holds none.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))["landmark"]
        found = [(str(t["name"]), np.array(t["ct_mm"], dtype=np.float64)) for t in tables]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            f"{path}: expected [[landmark]] tables with name and ct_mm = [x, y, z]"
        ) from None
    if any(ct_mm.shape != (3,) or not np.isfinite(ct_mm).all() for _, ct_mm in found):
        raise ConfigError(f"{path}: a ct_mm is not three finite numbers in mm")
    return found
