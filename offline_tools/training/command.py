"""What the command `train` puts together: the recipe, the examples, what the run says of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offline_tools.command_line import DATA_CREDIT, made_with
from offline_tools.datasets.blocks import guard_fault
from offline_tools.datasets.cache import cached_examples
from offline_tools.datasets.examples import Examples
from offline_tools.datasets.flanks import FlankRule
from offline_tools.datasets.images import ImageSource, LabelledImage, images_of, is_ultrabones
from offline_tools.datasets.records import open_records
from offline_tools.datasets.simulated import (
    FIRST_TRAINING_SEED,
    FIRST_VALIDATION_SEED,
    SimulatedImages,
)
from offline_tools.datasets.split import Split, read_split
from offline_tools.errors import InputError
from offline_tools.training.networks import check_arch
from offline_tools.training.presets import PRESETS
from offline_tools.training.settings import TrainSettings, read_settings

_N_SIMULATED_VALIDATION = 20  # from seeds that training never sees

OnImage = Callable[[int, int], None]  # how many images are done, and of how many


@dataclass(frozen=True, slots=True)
class Prepared:
    """Examples, what `run.json` says of them, and what a person is told."""

    training: Examples
    validation: Examples
    description: dict[str, Any]
    lines: tuple[str, ...]


def recipe(preset: str | None, config: Path | None) -> tuple[TrainSettings, str]:
    """Settings of a preset or a file, and where they come from.

    Raises
    ------
    InputError : both are given, no such preset, or a file with wrong settings.
    """
    if config is not None:
        if preset is not None:
            raise InputError("give either --preset or --config")
        return read_settings(config), f"Settings of {config.name}."
    name = preset or "default"
    if name not in PRESETS:
        raise InputError(f"--preset is {name!r}, expected one of {', '.join(PRESETS)}")
    return PRESETS[name].settings, PRESETS[name].source


def prepare(
    settings: TrainSettings,
    data: Sequence[Path],
    split_path: Path | None,
    cache: Path | None,
    on_image: OnImage = lambda n_done, n_images: None,
    without: Sequence[str] = (),
) -> Prepared:
    """Examples of the records (those in the split's "train", or all) and of simulated bones.

    `without` names images that must not be trained on. Validation is the split's "val"; without a
    split, or with an empty "val", simulated images.

    Raises
    ------
    InputError : no such network, no usable image, a split that leaks or names images that are not
        there.
    """
    check_arch(settings.arch)
    split = None if split_path is None else read_split(split_path)
    records = open_records(data)
    if split is not None and (fault := guard_fault(split, records)):
        raise InputError(f"split {split_path}: {fault}")
    simulated = SimulatedImages(FIRST_TRAINING_SEED, settings.simulated.n)
    sources: list[ImageSource] = [*records, simulated]
    examples = _examples(sources, settings, cache, on_image)
    recorded = [name for record in records for name in record.names]
    if absent := sorted(set(without).difference(recorded)):
        raise InputError(f"--without {absent[0]}: no image of that name in the data")
    candidates = recorded if split is None else split.subsets["train"]
    chosen = [name for name in candidates if name not in without]
    training = examples.subset([*chosen, *simulated.names])
    if split is not None and split.subsets["val"]:
        validation = examples.subset(split.subsets["val"])
        how = f"{len(validation)} images of the split's val"
    else:
        painted = SimulatedImages(FIRST_VALIDATION_SEED, _N_SIMULATED_VALIDATION)
        validation = _examples([painted], settings, None, on_image)
        why = "no --split" if split is None else "the split's val is empty"
        how = f"{len(validation)} simulated images ({why})"
    n_donors = len({record.donor for record in records})
    specimens = [record.specimen for record in records]
    left_out = [
        f"{record.specimen}/{record.record}: {_counted(len(record.problems), 'image')} left out, "
        f"such as {record.problems[0]}"
        for record in records
        if record.problems
    ]
    notes = [record.label_note for record in records if record.label_note]
    used = (
        f"{len(chosen)} recorded images of {_counted(n_donors, 'donor')} and "
        f"{len(simulated.names)} simulated ones to train; validation: {how}"
    )
    description = {
        "data": {
            "records": {f"{r.specimen}/{r.record}": r.sha256 for r in records},
            "n_donors": n_donors,
            "n_recorded": len(chosen),
            "without": list(without),
            "n_simulated": len(simulated.names),
            "n_validation": len(validation),
            "validation": how,
            **({"credit": DATA_CREDIT} if any(map(is_ultrabones, specimens)) else {}),
        },
        "split": None if split is None else _described(split, split_path),
        "made_with": made_with(),
    }
    return Prepared(training, validation, description, (*left_out, *notes, used))


def summary(settings: TrainSettings) -> str:
    """The recipe in one line."""
    loss = " + ".join(f"{weight:g} {name}" for name, weight in settings.loss.weights().items())
    schedule = settings.schedule.model_dump()
    kind = schedule.pop("kind")
    details = ", ".join(f"{name} {value:g}" for name, value in schedule.items())
    optimiser = settings.optimiser
    return (
        f"loss {loss}; {optimiser.kind} {optimiser.learning_rate:g}, {kind} schedule"
        f"{f' ({details})' if details else ''}; {settings.epochs} epochs, batch "
        f"{settings.batch_size}, seed {settings.seed}"
    )


def _examples(
    sources: Sequence[ImageSource], settings: TrainSettings, cache: Path | None, on_image: OnImage
) -> Examples:
    flanks = None if settings.flanks is None else FlankRule(**settings.flanks.model_dump())
    if cache is not None:
        return cached_examples(sources, settings.contract(), cache, on_image, flanks)
    n_images = sum(len(source.names) for source in sources)

    def images() -> Iterator[LabelledImage]:
        for n_done, image in enumerate(images_of(sources), 1):
            yield image
            on_image(n_done, n_images)

    return Examples.of(images(), settings.contract(), flanks)


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _described(split: Split, path: Path | None) -> dict[str, Any]:
    return {
        "file": None if path is None else path.name,
        "kind": split.kind,
        "seed": split.seed,
        "sha256": split.sha256,
        "n": {subset: len(names) for subset, names in split.subsets.items()},
        "notes": list(split.notes),
    }
