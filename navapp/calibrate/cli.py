"""`navapp calibrate ...` and `navapp register`: parse arguments, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from navapp.calibrate.finding import Finding

_DONE = 0

app = typer.Typer(
    help="Measure where pixels lie: lag, probe, stylus, phantom.", no_args_is_help=True
)


def _toml(path: Path) -> Path:
    """The file's name, before anything is measured for it."""
    from navapp.errors import ConfigError

    if path.suffix.lower() != ".toml":
        raise ConfigError(f"--out is {path}, expected a file that ends in .toml")
    return path


OutOption = Annotated[
    Path,
    typer.Option(
        "--out", callback=_toml, help="Calibration file (.toml); its other sections stay."
    ),
]
PlusXmlOption = Annotated[
    Path | None, typer.Option("--plus-xml", help="Write the transform into this PLUS file as well.")
]
PhantomOption = Annotated[
    Path, typer.Option("--phantom", help="PLUS configuration with PhantomDefinition.")
]
ProbeOption = Annotated[str, typer.Option(help="The probe's tool.")]
StylusOption = Annotated[str, typer.Option(help="The stylus's tool.")]
ReferenceOption = Annotated[str, typer.Option(help="The reference's tool.")]
ClipOption = Annotated[
    str | None,
    typer.Option(help="Part of the image that is ultrasound: COLUMN,ROW,WIDTH,HEIGHT."),
]


@app.command()
def temporal(
    images: Annotated[Path, typer.Argument(help="Sweep of a water tank's bottom.")],
    out: OutOption,
    poses: Annotated[
        Path | None, typer.Argument(help="Recording of the tracker, where it is another file.")
    ] = None,
    clip: ClipOption = None,
    search_ms: Annotated[
        float, typer.Option(help="Lags tried, to both sides.", min=20.0, max=2000.0)
    ] = 500.0,
    probe: ProbeOption = "Probe",
    reference: ReferenceOption = "Reference",
) -> int:
    """How much later than its moment an image is stamped: move the probe up and down unevenly."""
    from navapp.calibrate import tools
    from navapp.calibrate.finding import Tools

    names = Tools(probe=probe, reference=reference)
    return _finish([tools.temporal(images, poses, names, _rectangle(clip), search_ms * 1e-3)], out)


@app.command()
def pivot(
    recording: Annotated[Path, typer.Argument(help="Poses of a stylus turning about its tip.")],
    out: OutOption,
    stylus: StylusOption = "Stylus",
    reference: ReferenceOption = "Reference",
    plus_xml: PlusXmlOption = None,
) -> int:
    """Where the tip of a stylus is."""
    from navapp.calibrate import tools
    from navapp.calibrate.finding import Tools

    finding = tools.pivot(recording, Tools(stylus=stylus, reference=reference))
    return _finish([finding], out, plus_xml)


@app.command()
def landmarks(
    recording: Annotated[Path, typer.Argument(help="Poses of a stylus held on each landmark.")],
    phantom: PhantomOption,
    out: OutOption,
    stylus_calibration: Annotated[
        Path | None,
        typer.Option(help="TOML or PLUS XML with the tip; default: --out, else --phantom."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="X,Y,Z in the phantom where the error is wanted; default: the middle."),
    ] = None,
    stylus: StylusOption = "Stylus",
    reference: ReferenceOption = "Reference",
    plus_xml: PlusXmlOption = None,
) -> int:
    """Where a phantom is: its landmarks touched in the order of its file."""
    import numpy as np

    from navapp.calibrate import tools
    from navapp.calibrate.finding import Tools

    target_mm = None if target is None else np.array(_numbers(target, 3, "--target"))
    tip_file = stylus_calibration or _holding(out, "stylus") or phantom
    names = Tools(stylus=stylus, reference=reference)
    finding = tools.landmarks(recording, phantom, tip_file, names, target_mm)
    return _finish([finding], out, plus_xml)


@app.command()
def spatial(
    recording: Annotated[Path, typer.Argument(help="Sweep over an N-wire phantom.")],
    phantom: PhantomOption,
    out: OutOption,
    validation: Annotated[
        Path | None, typer.Option(help="Another sweep, to measure the error on.")
    ] = None,
    placement: Annotated[
        Path | None,
        typer.Option(help="TOML or PLUS XML with the phantom's place; default: --out or --phantom"),
    ] = None,
    clip: ClipOption = None,
    pixel_mm: Annotated[
        float | None, typer.Option(help="Rough size of a pixel; default: tried out.", min=0.001)
    ] = None,
    scanner_spacing: Annotated[
        str | None, typer.Option(help="The scanner's own mm per pixel, X,Y: checked.")
    ] = None,
    depth_mm: Annotated[
        float | None, typer.Option(help="The scanner's depth setting, kept in the file.", min=1.0)
    ] = None,
    refine: Annotated[
        bool, typer.Option("--refine", help="Let all wires refine the linear solution.")
    ] = False,
    find_lag: Annotated[
        bool, typer.Option("--find-lag", help="Measure the image lag on the same sweep.")
    ] = False,
    image_lag_ms: Annotated[
        float | None, typer.Option(help="Default: image_lag_s in --out, else 0.")
    ] = None,
    probe: ProbeOption = "Probe",
    reference: ReferenceOption = "Reference",
    plus_xml: PlusXmlOption = None,
) -> int:
    """Where a pixel lies on the probe, from a phantom with N-wires."""
    from navapp.calibrate.finding import Tools, stored_image_lag_s
    from navapp.calibrate.wires import SpatialOptions
    from navapp.calibrate.wires import spatial as calibrate

    spacing = None if scanner_spacing is None else _numbers(scanner_spacing, 2, "--scanner-spacing")
    stored_s = stored_image_lag_s(out) if image_lag_ms is None and not find_lag else None
    options = SpatialOptions(
        clip_px=_rectangle(clip),
        rough_spacing_mm=pixel_mm,
        scanner_spacing_mm=None if spacing is None else (spacing[0], spacing[1]),
        depth_mm=depth_mm,
        refine=refine,
        find_lag=find_lag,
        image_lag_s=stored_s or 1e-3 * (image_lag_ms or 0.0),
        image_lag_file=None if stored_s is None else out,
    )
    findings = calibrate(
        recording,
        validation,
        phantom,
        placement or _holding(out, "phantom") or phantom,
        Tools(probe=probe, reference=reference),
        options,
    )
    return _finish(findings, out, plus_xml)


def register(
    cloud: Annotated[Path, typer.Argument(help="Bone cloud in the reference's space (PLY).")],
    mesh: Annotated[Path, typer.Argument(help="CT surface (STL, PLY, OBJ).")],
    out: OutOption,
    landmarks: Annotated[
        Path | None, typer.Option(help="TOML, [[landmark]] tables with reference_mm and ct_mm.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="TOML with T_ct_reference to start from.")
    ] = None,
) -> int:
    """Cloud to CT surface; the result is what --registration takes."""
    from navapp.calibrate.surface import register as to_surface

    return _finish([to_surface(cloud, mesh, landmarks, start)], out)


def _finish(findings: list[Finding], out: Path, plus_xml: Path | None = None) -> int:
    from navapp.calibrate.finding import save

    for finding in findings:
        print(f"[{finding.section}]")
        for line in finding.lines:
            print(f"  {line}")
    for line in save(findings, out, plus_xml):
        print(line)
    return _DONE


def _holding(path: Path, section: str) -> Path | None:
    """The file, if it has the section."""
    from tracking.calibration.sections import read_document

    return path if path.exists() and section in read_document(path) else None


def _rectangle(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    numbers = _numbers(text, 4, "--clip")
    if min(numbers) < 0 or not all(number.is_integer() for number in numbers):
        raise typer.BadParameter(f"--clip is {text}, expected whole numbers of pixels")
    column, row, width, height = (int(number) for number in numbers)
    return column, row, width, height


def _numbers(text: str, n: int, option: str) -> list[float]:
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != n:
        raise typer.BadParameter(f"{option} is {text}, expected {n} numbers with commas between")
    return numbers
