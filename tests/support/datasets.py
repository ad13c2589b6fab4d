"""A small dataset in UltraBones100k's published layout, and sources with known places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offline_tools.datasets.images import LabelledImage, donor_of
from recon.mesh_io import write_mesh
from recon.section import VisibleLine
from tests.support.bones import tube

SIZE_PX = (96, 64)
SPACING_MM = 0.1
HEADER = "timestamp,space_factor,x,y,z,euler_x,euler_y,euler_z"
OPTIMIZED = ",".join(f"{name}_optimized" for name in HEADER.split(",")[2:])


def line_row(k: int) -> int:
    """Row of the flat bone in image k of a record."""
    return 20 + k


def mask(row: int) -> NDArray[np.uint8]:
    """Three rows of bone around a row, in columns 30 to 69."""
    pixels = np.zeros(SIZE_PX[::-1], dtype=np.uint8)
    pixels[row - 1 : row + 2, 30:70] = 255
    return pixels


def save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_record(
    folder: Path, n_images: int = 3, seed: int = 0, refined_by_mm: float | None = None
) -> None:
    """Images at 1000, 1050, ... ms with masks, at poses 1 mm apart along the tube."""
    rng = np.random.default_rng([seed, *folder.name.encode(), *folder.parent.name.encode()])
    rows = [HEADER + ("" if refined_by_mm is None else f",{OPTIMIZED}")]
    for k in range(n_images):
        stamp_ms = 1000 + 50 * k
        pixels = rng.integers(0, 200, SIZE_PX[::-1], dtype=np.uint8)
        save(folder / "UltrasoundImages" / f"{stamp_ms}.png", pixels)
        save(folder / "Labels" / f"{stamp_ms}_label.png", mask(line_row(k)))
        pose = f"0,-12,{k},0,0,0"
        refined = "" if refined_by_mm is None else f",{refined_by_mm},-12,{k},0,0,0"
        rows.append(f"{stamp_ms},{SPACING_MM},{pose}{refined}")
    (folder / "tracking.csv").write_text("\n".join(rows) + "\n")


def write_dataset(root: Path, specimens: Sequence[str], n_records: int = 1) -> None:
    """Specimen folders, each with records of three images and a surface: a tube along z."""
    for specimen in specimens:
        for k in range(1, n_records + 1):
            write_record(root / specimen / f"record{k:02d}")
    write_mesh(root / "tube.stl", tube(10.0, n=24))
    for specimen in specimens:
        (root / specimen / "CT_bone_model.stl").write_bytes((root / "tube.stl").read_bytes())


def write_calibration(folder: Path) -> None:
    """Images across the tube, whose near side lies some 20 rows deep."""
    (folder / "calibration.toml").write_text(
        "[probe]\nA_probe_pixel = [[0.1, 0, 0, 0], [0, 0.1, 0, 0], [0, 0, 0.1, 0], [0, 0, 0, 1]]\n"
        f"image_size_px = {list(SIZE_PX)}\nroi_px = [0, 0, 90, 64]\n"
    )


@dataclass
class FakeSource:
    """Images of one record at given places along the bone, without a file."""

    specimen: str = "cadaver01_F231091"
    record: str = "record01"
    positions_mm: Sequence[float | None] = ()
    n_loads: int = 0
    problems: Sequence[str] = ()

    @property
    def donor(self) -> str:
        return donor_of(self.specimen)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.specimen}/{self.record}/{k}" for k in range(len(self.positions_mm)))

    @property
    def sha256(self) -> str:
        return f"hash of {self.names}"

    def position_mm(self, index: int) -> float | None:
        return self.positions_mm[index]

    def load(self, index: int) -> LabelledImage:
        self.n_loads += 1
        u = np.arange(30.0, 70.0)
        line = VisibleLine(np.column_stack((u, np.full(40, 20.0 + index))), np.zeros(40))
        pixels = np.full(SIZE_PX[::-1], 10 * index, dtype=np.uint8)
        return LabelledImage(self.names[index], pixels, (SPACING_MM, SPACING_MM), None, line)
