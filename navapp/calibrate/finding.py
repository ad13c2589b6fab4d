"""What a calibration command found: a section, what to say of it, its plot; and saving that."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from navapp.calibrate.chart import Chart, save_charts
from navapp.errors import ConfigError
from tracking.calibration.plus_xml import PlusTransform, write_plus_transforms
from tracking.calibration.sections import read_document, write_section
from tracking.calibration.track import Recorded, read_recorded
from tracking.messages import TransformName
from tracking.sequences import open_sweep

Array = NDArray[np.float64]
Rectangle = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Finding:
    """A section of the calibration file, what to say of it, its plot, and the curve that was
    searched as (heading, x, y): too long for the file."""

    section: str
    values: dict[str, Any]
    lines: list[str]
    charts: list[Chart]
    curve: tuple[str, Array, Array] | None = None
    plus: dict[TransformName, PlusTransform] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tools:
    """Names of the tracked tools in a recording."""

    probe: str = "Probe"
    stylus: str = "Stylus"
    reference: str = "Reference"


def save(findings: list[Finding], out: Path, plus_xml: Path | None = None) -> list[str]:
    """Write sections, plots (`OUT_section.png`) and curves (`.csv`); what was written, in words.

    Raises
    ------
    CalibrationError, ConfigError : where a file cannot be written.
    """
    said = []
    for finding in findings:
        plot = out.with_name(f"{out.stem}_{finding.section}.png")
        write_section(out, finding.section, finding.values)
        try:
            save_charts(plot, finding.charts)
            if finding.curve is not None:
                _save_curve(plot.with_suffix(".csv"), *finding.curve)
        except OSError as error:
            raise ConfigError(f"{plot}: cannot be written: {error.strerror}") from None
        said.append(f"saved {out} [{finding.section}] and {plot}")
        if plus_xml is not None and finding.plus:
            write_plus_transforms(plus_xml, finding.plus)
            said.append(f"saved {plus_xml}: {', '.join(str(name) for name in finding.plus)}")
    return said


def stored_image_lag_s(out: Path) -> float | None:
    """The lag in a calibration file's `[temporal]`, None where there is none."""
    if not out.exists():
        return None
    lag_s = read_document(out).get("temporal", {}).get("image_lag_s")
    return None if lag_s is None else float(lag_s)


def read_recording(path: Path) -> Recorded:
    """Everything of a recording but the pixels."""
    return read_recorded(open_sweep(path))


def given_files(*paths: Path | None) -> list[Path]:
    """Those that are given."""
    return [path for path in paths if path is not None]


def in_words(values: dict[str, Any]) -> str:
    """Residual and held-out error of a section."""
    residual, held_out = values["residual"], values["held_out"]
    return (
        f"residual {residual['rms_mm']:.2f} mm RMS, {residual['median_mm']:.2f} median, "
        f"{residual['p95_mm']:.2f} 95 %, {residual['max_mm']:.2f} most; held out "
        f"{held_out['rms_mm']:.2f} mm RMS"
    )


def _save_curve(path: Path, heading: str, x: Array, y: Array) -> None:
    rows = np.column_stack((x, y))
    np.savetxt(path, rows, fmt="%.9g", delimiter=",", header=heading, comments="")
