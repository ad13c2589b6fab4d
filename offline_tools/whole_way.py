"""From a CT surface and tracked sweeps to a network that the live program runs, in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offline_tools.datasets.audit import audited, image_hashes
from offline_tools.datasets.blocks import anatomy_folds
from offline_tools.datasets.images import LabelledImage, images_of
from offline_tools.datasets.records import Record, open_records
from offline_tools.datasets.split import Split, read_split, write_split
from offline_tools.datasets.splitting import DEFAULT_SHARES, split_by_donor, split_by_frame
from offline_tools.deploy.confidence import fit_confidence
from offline_tools.deploy.export_onnx import export
from offline_tools.errors import InputError
from offline_tools.judging.command import judge_into
from offline_tools.judging.data import ImagesToJudge, recorded
from offline_tools.judging.evaluate import evaluate
from offline_tools.labeling import command as labeling
from offline_tools.training import command as training
from offline_tools.training.loop import train
from offline_tools.training.run_folder import EpochResult
from offline_tools.training.settings import TrainSettings
from tracking.errors import SequenceError
from tracking.sequences import open_sweep

LABELLED, SPLIT, RUN, MODEL, EVALUATION = (
    "labelled",
    "split.json",
    "run",
    "model.onnx",
    "evaluation",
)

_FEWEST_DONORS = 3  # one to train, one to validate, one to test


@dataclass(frozen=True, slots=True)
class WholeWay:
    """What to make of what. `out` receives labels, split, run, model, evaluation and report."""

    ct: tuple[Path, ...]
    sweeps: tuple[Path, ...]
    out: Path
    calibration: Path | None
    registration: Path | None
    settings: TrainSettings
    n_workers: int


@dataclass(frozen=True, slots=True)
class Shown:
    """How the steps tell what they do."""

    say: Callable[[str], None]
    count: Callable[[int, int], None]
    images: Callable[[ImagesToJudge], Iterable[LabelledImage]]
    epoch: Callable[[EpochResult], None]


def go(way: WholeWay, shown: Shown) -> dict[str, Any]:
    """Label, split, train, export, judge, report; returns the evaluation of the test images.

    Every step continues what an earlier, interrupted call left in `out`. Confidence is fitted on
    the validation images; the test images are looked at once, by the network that is written.

    Raises
    ------
    InputError, WorkError : of the step that failed; what the steps before it made is kept.
    """
    records = _label(way, shown)
    split_path = way.out / SPLIT
    shown.say(_split(records, split_path, way.settings.seed))
    _train(way, shown, split_path)
    model = way.out / MODEL
    export(way.out / RUN, model)
    labelled = way.out / LABELLED
    try:
        validation = evaluate(model, recorded([labelled], split_path, "val"))
        export(way.out / RUN, model, confidence=fit_confidence([validation]))
    except InputError as error:
        shown.say(f"no curve of confidence, peaks are shown as they are; {error}")
    test = recorded([labelled], split_path, "test")
    return judge_into(
        way.out / EVALUATION,
        model,
        test,
        run=way.out / RUN,
        progress=lambda _: shown.images(test),
    )


def _label(way: WholeWay, shown: Shown) -> list[Record]:
    for sweep in _sweeps(way.sweeps):
        shown.say(f"labels of {sweep.name}")
        job = labeling.job_of(
            labeling.Request(
                record=sweep,
                out=way.out / LABELLED / sweep.name,
                ct=list(way.ct),
                calibration=way.calibration,
                registration=way.registration,
                objective="exp-sum",
                gamma_mm=None,
                weight=None,
                lead_mm=0.0,
                band_mm=0.1,
                max_incidence_deg=85.0,
                apex=None,
                mode="frame",
                repair=True,
                seed=0,
            )
        )
        summary = labeling.run(
            job, n_workers=way.n_workers, on_progress=shown.count, draws_stages=False
        )
        for line in summary:
            shown.say(f"  {line}")
    return open_records([way.out / LABELLED])


def _sweeps(named: Sequence[Path]) -> list[Path]:
    """The sweeps named, or those in the folders named.

    Raises
    ------
    InputError : a folder without sweeps, or two sweeps of one name.
    """
    found: list[Path] = []
    for path in named:
        inside = sorted(p for p in path.iterdir() if _is_sweep(p)) if path.is_dir() else []
        if not inside and not _is_sweep(path):
            raise InputError(f"{path}: no sweep there, expected a record, .mcap or .igs.mha/.nrrd")
        found += [path] if _is_sweep(path) else inside
    names = [path.name for path in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{name}: two sweeps of this name, expected different ones")
    return found


def _is_sweep(path: Path) -> bool:
    try:
        open_sweep(path)
    except SequenceError:
        return False
    return True


def _split(records: list[Record], path: Path, seed: int) -> str:
    """Make or read the split; how it was made, in a sentence.

    Raises
    ------
    InputError : the split that is there was made without one of the records.
    """
    if path.exists():
        split = read_split(path)
        used = {name for names in split.subsets.values() for name in names}
        unused = [record.prefix for record in records if used.isdisjoint(record.names)]
        # All images of a short record may lie in the guard band: then it is made alike again.
        if unused and _made_split(records, seed).subsets != split.subsets:
            raise InputError(
                f"{path}: made without {', '.join(unused)}, which would not be used; expected "
                "another --out, or no split there"
            )
    else:
        split = audited(_made_split(records, seed), image_hashes(images_of(records)))
        write_split(split, path)
    counts = ", ".join(f"{len(names)} {subset}" for subset, names in split.subsets.items())
    return f"split by {split.kind}: {counts}"


def _made_split(records: list[Record], seed: int) -> Split:
    """By donor where there are enough; else by stretches of bone; else, honestly, by frame."""
    if len({record.donor for record in records}) >= _FEWEST_DONORS:
        return split_by_donor(records, DEFAULT_SHARES, seed)
    try:
        return anatomy_folds(records, seed=seed)[0]
    except InputError:
        return split_by_frame(records, DEFAULT_SHARES, seed)


def _train(way: WholeWay, shown: Shown, split: Path) -> None:
    prepared = training.prepare(way.settings, [way.out / LABELLED], split, None, shown.count)
    for line in prepared.lines:
        shown.say(line)
    train(
        prepared.training,
        prepared.validation,
        settings=way.settings,
        run=way.out / RUN,
        description=prepared.description,
        resume=True,
        say=shown.say,
        on_epoch=shown.epoch,
    )
