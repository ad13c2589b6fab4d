"""The `offline-tools` command: parse arguments, call, print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from typer.exceptions import TyperException

from inference.errors import InferenceError
from offline_tools.command_line import console
from offline_tools.datasets.cli import check, overlay, split, stats
from offline_tools.deploy.cli import bench, export
from offline_tools.errors import OfflineToolsError, WorkError
from offline_tools.judging.cli import compare, evaluate, predict, report
from offline_tools.training.cli import train
from recon.errors import ReconError
from tracking.errors import TrackingError

app = typer.Typer(
    help="Prepare data, train, judge and export networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    check, stats, overlay, split, train, evaluate, report, predict, compare, export, bench,
):  # fmt: skip
    app.command()(command)

_DONE, _FAILED, _WRONG_INPUT, _INTERRUPTED = 0, 1, 2, 130
_WRONG_PATH = (
    FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError,
)  # fmt: skip


@app.command()
def label(
    record: Annotated[Path, typer.Argument(help="Recorded sweep.")],
    out: Annotated[Path, typer.Option(help="Folder of the labelled record; continues there.")],
    ct: Annotated[
        list[Path] | None, typer.Option(help="Bone surface in CT space, mm; may repeat.")
    ] = None,
    calibration: Annotated[Path | None, typer.Option(help="Default: the nearest one.")] = None,
    registration: Annotated[
        Path | None, typer.Option(help="The poses are of a reference: where it is in CT space.")
    ] = None,
    objective: Annotated[str, typer.Option(help="exp-sum, mean or shadow.")] = "exp-sum",
    gamma_mm: Annotated[float | None, typer.Option(min=0.05, help="Half width of band.")] = None,
    weight: Annotated[str | None, typer.Option(help="Of the correction: a number or auto.")] = None,
    lead_mm: Annotated[
        float, typer.Option(help="How far before the middle of its echo the surface lies.")
    ] = 0.0,
    band_mm: Annotated[float, typer.Option(min=0.02, help="Half width of drawn labels.")] = 0.1,
    max_incidence_deg: Annotated[float, typer.Option(min=1, max=90)] = 85.0,
    apex: Annotated[
        str | None, typer.Option(help="U,V in pixels where a curved array's lines would meet.")
    ] = None,
    mode: Annotated[str, typer.Option(help="frame, or global: one registration.")] = "frame",
    repair: Annotated[bool, typer.Option(help="Ask neighbours about rejected frames.")] = True,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    workers: Annotated[int, typer.Option(min=1)] = 1,
    debug: Annotated[bool, typer.Option(help="Draw every stage of every frame.")] = False,
) -> None:
    """Label a recorded sweep from CT: refined poses, visible contours, every frame's fate."""
    from offline_tools.labeling import command

    request = command.Request(
        record, out, ct or [], calibration, registration, objective, gamma_mm, weight, lead_mm,
        band_mm, max_incidence_deg, apex, mode, repair, seed,
    )  # fmt: skip
    job = command.job_of(request)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(), console=console,
    ) as bar:  # fmt: skip
        task = bar.add_task("frames")

        def show(n_done: int, n_total: int) -> None:
            bar.update(task, completed=n_done, total=n_total)

        job, scores = command.weighed(job, request)
        for row in scores:
            bar.console.print(row)
        summary = command.run(job, n_workers=workers, on_progress=show, draws_stages=debug)
    for line in summary:
        console.print(line)


@app.command("ct-mesh")
def ct_mesh(
    ct: Annotated[Path, typer.Argument(help="DICOM folder, NIfTI, MHA or NRRD, Hounsfield units.")],
    out: Annotated[Path, typer.Option(help="Surface to write: STL or PLY, LPS, mm.")],
    threshold: Annotated[
        float | None, typer.Option(help="Lowest value of bone, HU. Default: found.")
    ] = None,
    seed: Annotated[
        list[str] | None, typer.Option(help="X,Y,Z in mm inside a bone; may repeat.")
    ] = None,
    components: Annotated[int, typer.Option(min=1, help="Largest bones to keep.")] = 1,
    smoothing: Annotated[int, typer.Option(min=0, help="Rounds of smoothing.")] = 10,
    faces: Annotated[int | None, typer.Option(min=100, help="Most faces to keep.")] = None,
) -> None:
    """Bone surface of a CT volume, with a preview picture beside it."""
    from offline_tools.ct_mesh import MeshSettings, make_mesh, parse_point

    settings = MeshSettings(
        threshold, tuple(parse_point(text) for text in seed or ()), components, smoothing, faces
    )
    result = make_mesh(ct, out, settings)
    console.print(
        f"{out}: {result.n_faces} faces, {result.n_components} of {result.n_found} bones, bone "
        f"from {result.threshold:.0f} HU; preview {result.preview.name}"
    )


@app.command()
def run(
    ct: Annotated[list[Path], typer.Option(help="Bone surface in CT space, mm; may repeat.")],
    sweep: Annotated[list[Path], typer.Option(help="Sweep, or folder of sweeps; may repeat.")],
    out: Annotated[Path, typer.Option(help="Folder for everything; continues there.")],
    calibration: Annotated[Path | None, typer.Option(help="Default: the nearest one.")] = None,
    registration: Annotated[
        Path | None, typer.Option(help="The poses are of a reference: where it is in CT space.")
    ] = None,
    preset: Annotated[str, typer.Option(help="Recipe of the training.")] = "default",
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    simulated: Annotated[int | None, typer.Option(min=0, help="Simulated images to add.")] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that label.")] = 1,
) -> None:
    """CT and tracked sweeps in, a network for `navapp run --model` out: label to report."""
    from offline_tools.judging.cli import print_scores
    from offline_tools.training.cli import epoch_line
    from offline_tools.training.command import recipe
    from offline_tools.whole_way import EVALUATION, MODEL, Shown, WholeWay, go

    settings, source = recipe(preset, None)
    given = {"simulated.n": simulated, "epochs": epochs, "seed": seed}
    settings = settings.changed(given, "command line")
    console.print(source)

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console
    ) as bar:
        task = bar.add_task("frames", total=None)
        shown = Shown(
            say=say,
            count=lambda n, total: bar.update(task, completed=n, total=total),
            images=lambda images: bar.track(images, total=len(images), task_id=task),
            epoch=lambda result: say(epoch_line(result, settings.epochs)),
        )
        way = WholeWay(tuple(ct), tuple(sweep), out, calibration, registration, settings, workers)
        evaluation = go(way, shown)
    print_scores(evaluation)
    say(f"{out / MODEL}: for `navapp run --model`; report in {out / EVALUATION}")


def main() -> None:
    """Console entry: every expected error is one line and the right exit code."""
    sys.exit(_door(_repeated(_repeated(sys.argv[1:], "--data"), "--confidence")))


def _repeated(arguments: list[str], option: str) -> list[str]:
    """`--data A B` as `--data A --data B`: typer knows lists only as repeated options."""
    spread: list[str] = []
    is_open = False
    for argument in arguments:
        if argument.startswith("-"):
            is_open = argument == option
        elif is_open and spread[-1] != option:
            spread.append(option)
        spread.append(argument)
    return spread


def _door(arguments: list[str]) -> int:
    try:
        return app(arguments, standalone_mode=False) or _DONE
    except typer.Exit as ending:
        return ending.exit_code
    except TyperException as error:
        return _say(error.format_message(), _WRONG_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted; what was saved so far is kept", _INTERRUPTED)
    except WorkError as error:
        return _say(str(error), _FAILED)
    except (OfflineToolsError, TrackingError, ReconError, InferenceError) as error:
        return _say(str(error), _WRONG_INPUT)
    except OSError as error:
        return _say(*_reason(error))
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "onnx", "onnxscript", "SimpleITK"):
            raise
        return _say(
            f"{error.name} is missing: run `make test` once, or pip install -e '.[train]'", _FAILED
        )
    except Exception as error:
        return _say(f"unexpected {type(error).__name__}: {error}", _FAILED)


def _reason(error: OSError) -> tuple[str, int]:
    """What the system said of a file, and the exit code: 2 for a path that cannot be.

    A write that fails in its midst, on a full disk, knows no path: the reason stands alone.
    """
    where = f"{error.filename}: " if error.filename else ""
    reason = error.strerror or str(error)
    if isinstance(error, _WRONG_PATH):
        return f"{where}cannot be used ({reason}), expected another path", _WRONG_INPUT
    return f"{where}cannot be written ({reason}); what was finished before is kept", _FAILED


def _say(text: str, code: int) -> int:
    print(f"offline-tools: {' '.join(text.split())}", file=sys.stderr)
    return code
