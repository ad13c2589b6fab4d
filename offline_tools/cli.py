"""The `offline-tools` command: parse arguments, call, print."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    track,
)
from typer.exceptions import TyperException

from inference.errors import InferenceError
from offline_tools.errors import InputError, OfflineToolsError, WorkError
from offline_tools.presets import PRESETS
from recon.errors import ReconError
from tracking.errors import TrackingError

app = typer.Typer(
    help="Prepare data, train, judge and export networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()

_DONE, _FAILED, _WRONG_INPUT, _INTERRUPTED = 0, 1, 2, 130

_DATA_CREDIT = "UltraBones100k, Wu et al. 2025, CC BY 4.0"
_N_VALIDATION = 20  # simulated images, from seeds that training never sees

_Data = Annotated[
    list[Path], typer.Option(help="UltraBones100k record, or a folder of records; may repeat.")
]


@app.command()
def train(
    data: _Data,
    out: Annotated[Path, typer.Option(help="Folder of the run: log and checkpoints.")],
    preset: Annotated[str, typer.Option(help=f"One of: {', '.join(PRESETS)}.")] = "first",
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    simulated: Annotated[int | None, typer.Option(min=0, help="Simulated images to add.")] = None,
    seed: Annotated[int | None, typer.Option()] = None,
) -> None:
    """Train a network on recorded and simulated images."""
    from offline_tools import dataset
    from offline_tools.train import EpochResult
    from offline_tools.train import train as run_training

    if preset not in PRESETS:
        raise InputError(f"--preset is {preset!r}, expected one of {', '.join(PRESETS)}")
    recipe = PRESETS[preset]
    n_simulated = recipe.n_simulated if simulated is None else simulated
    given = {"epochs": epochs, "seed": seed}
    settings = replace(recipe.settings, **{k: v for k, v in given.items() if v is not None})
    records = dataset.find_records(data)

    recorded = [
        dataset.make_example(image, recipe.contract)
        for record in records
        for image in track(dataset.read_record(record), record.name, console=console)
    ]
    simulation = dataset.simulated_images(dataset.FIRST_TRAINING_SEED, n_simulated)
    painted = [
        dataset.make_example(image, recipe.contract)
        for image in track(simulation, "simulated", n_simulated, console=console)
    ]
    validation = [
        dataset.make_example(image, recipe.contract)
        for image in dataset.simulated_images(dataset.FIRST_VALIDATION_SEED, _N_VALIDATION)
    ]
    console.print(f"{len(recorded)} recorded and {len(painted)} simulated images")

    def show(result: EpochResult) -> None:
        console.print(
            f"epoch {result.epoch}/{settings.epochs}  train {result.train_loss:.4f}  "
            f"simulated validation {result.validation_loss:.4f}"
        )

    run_training(
        dataset.stacked(recorded + painted),
        dataset.stacked(validation),
        settings=settings,
        run=out,
        description={
            "contract": recipe.contract.to_metadata(),
            "data": {
                "records": {_short_name(r): dataset.record_sha256(r) for r in records},
                "n_recorded": len(recorded),
                "n_simulated": len(painted),
                "credit": _DATA_CREDIT,
            },
            "made_with": _made_with(),
        },
        on_epoch=show,
    )
    console.print(f"run written to {out}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    out: Annotated[Path, typer.Option(help="The .onnx file to write.")],
) -> None:
    """Write a run's network as one ONNX file with its contract inside."""
    from offline_tools.export_onnx import export as run_export

    result = run_export(run, out)
    console.print(
        f"{out}: {result.n_bytes / 1e6:.2f} MB, differs from torch by at most "
        f"{result.largest_difference:.1e}"
    )


@app.command()
def evaluate(
    model: Annotated[Path, typer.Option(help="The .onnx file to judge.")],
    out: Annotated[Path, typer.Option(help="Folder for evaluation.json.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="Record or folder of records; may repeat.")
    ] = None,
    simulated: Annotated[int, typer.Option(min=0, help="Simulated images instead of data.")] = 0,
) -> None:
    """Score a network's bone lines against the labels of recorded or simulated images."""
    from offline_tools import dataset
    from offline_tools.evaluate import evaluate as run_evaluation

    if bool(data) == bool(simulated):
        raise InputError("give either --data or --simulated")
    records = dataset.find_records(data or [])
    images = (
        dataset.simulated_images(dataset.FIRST_VALIDATION_SEED, simulated)
        if simulated
        else (image for record in records for image in dataset.read_record(record))
    )
    evaluation = run_evaluation(model, track(images, "images", console=console))
    evaluation["data"] = {
        "records": [_short_name(record) for record in records],
        "n_simulated": simulated,
        "poses": "original",
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / "evaluation.json"
    path.write_text(json.dumps(evaluation, indent=2) + "\n")
    console.print(f"{path}: {evaluation['n_frames']} images")


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


def main() -> None:
    """Console entry: every expected error is one line and the right exit code."""
    sys.exit(_door(_repeated(sys.argv[1:], "--data")))


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
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "onnx", "onnxscript", "SimpleITK"):
            raise
        return _say(
            f"{error.name} is missing: run `make test` once, or pip install -e '.[train]'", _FAILED
        )
    except Exception as error:
        return _say(f"unexpected {type(error).__name__}: {error}", _FAILED)


def _say(text: str, code: int) -> int:
    print(f"offline-tools: {' '.join(text.split())}", file=sys.stderr)
    return code


def _short_name(record: Path) -> str:
    """Specimen and record: says which one without saying where it lies."""
    return "/".join(record.resolve().parts[-2:])


def _made_with() -> dict[str, Any]:
    """Versions and commit, for the provenance of what is made."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    packages = ("navapp", "numpy", "torch", "onnx", "onnxruntime-gpu")
    return {
        "git_commit": commit or None,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }
