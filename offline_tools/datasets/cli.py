"""The commands `check`, `stats`, `overlay` and `split`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from offline_tools.command_line import console

DatasetData = Annotated[
    list[Path] | None,
    typer.Option(
        help="Record, specimen or dataset; may repeat. Default: ../data/AI_Ultrasound_dataset, "
        "where it exists."
    ),
]


def check(
    data: DatasetData = None,
    split: Annotated[Path | None, typer.Option(help="Are its images all there?")] = None,
) -> None:
    """Look for everything that is wrong with images and labels; exit 1 where something is."""
    from offline_tools.datasets.check import check_data
    from offline_tools.datasets.command import data_folders
    from offline_tools.datasets.split import read_split

    report = check_data(data_folders(data), read_split(split) if split else None)
    for line in (*report.faults, *(f"note: {note}" for note in report.notes)):
        _say(line)
    decided = f", {report.n_decided} rejected when labelled" if report.n_decided else ""
    _say(
        f"{report.n_records} records: {report.n_images} images, {report.n_labels} labels, "
        f"{report.n_examples} images with a usable label{decided}; {len(report.faults)} faults"
    )
    if report.faults:
        raise typer.Exit(1)


def stats(
    data: DatasetData = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """What a dataset holds, in numbers."""
    from offline_tools.datasets.command import data_folders, stats_lines
    from offline_tools.datasets.images import images_of
    from offline_tools.datasets.records import open_records
    from offline_tools.datasets.stats import dataset_stats

    records = open_records(data_folders(data))
    n = sum(len(record.names) for record in records)
    images = track(images_of(records), "images", n, console=console, disable=as_json)
    found = dataset_stats(records, images)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for line in stats_lines(found):
        _say(line)


def overlay(
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")],
    data: DatasetData = None,
    model: Annotated[Path | None, typer.Option(help="Draw what this network finds, too.")] = None,
    split: Annotated[Path | None, typer.Option(help="Only images of this split ...")] = None,
    subset: Annotated[str, typer.Option(help="... and of this subset.")] = "test",
    count: Annotated[int, typer.Option(min=0, help="Evenly chosen; 0 for all.")] = 24,
) -> None:
    """Draw labels on images: a picture each, and a contact sheet."""
    from offline_tools.datasets.command import chosen_images, data_folders, evenly
    from offline_tools.datasets.overlay import draw_overlays
    from offline_tools.datasets.records import open_records

    places = evenly(chosen_images(open_records(data_folders(data)), split, subset), count)
    images = (record.load(index) for record, index in places)
    sheet = draw_overlays(track(images, "pictures", len(places), console=console), out, model)
    _say(f"{out}: {len(places)} pictures, and {sheet.name}")


def split(
    out: Annotated[Path, typer.Option(help="JSON file; a folder where there are several folds.")],
    data: DatasetData = None,
    by: Annotated[str, typer.Option(help="donor, anatomy (of one specimen) or frame.")] = "donor",
    preset: Annotated[str | None, typer.Option(help="ultrabones: as published.")] = None,
    train: Annotated[
        float | None, typer.Option(help="Donors, or their share. Default: 0.8.")
    ] = None,
    val: Annotated[
        float | None, typer.Option(help="Default: 0.1; of a preset: 1 specimen.")
    ] = None,
    test: Annotated[float | None, typer.Option(help="Default: 0.1.")] = None,
    folds: Annotated[int | None, typer.Option(help="Cross-validate over groups of donors.")] = None,
    leave_one_out: Annotated[bool, typer.Option(help="Test each donor once.")] = False,
    fold: Annotated[int | None, typer.Option(min=1, help="Only this fold or block.")] = None,
    guard_mm: Annotated[
        float, typer.Option(min=0, help="By anatomy: nothing nearer to test trains.")
    ] = 3.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Say which images train, validate and test, and what leaks between them."""
    from offline_tools.datasets.audit import audited, image_hashes
    from offline_tools.datasets.command import SplitRequest, data_folders, made_splits, split_paths
    from offline_tools.datasets.images import images_of
    from offline_tools.datasets.records import open_records
    from offline_tools.datasets.split import write_split

    request = SplitRequest(
        by, preset, train, val, test, folds, leave_one_out, fold, guard_mm, seed
    )  # fmt: skip
    records = open_records(data_folders(data))
    splits = made_splits(records, request)
    n = sum(len(record.names) for record in records)
    hashes = image_hashes(track(images_of(records), "near copies", n, console=console))
    for path, made in zip(split_paths(out, len(splits)), splits, strict=True):
        checked = audited(made, hashes)
        write_split(checked, path)
        _say(f"{path}: by {checked.kind}, sha256 {checked.sha256}")
        for note in checked.notes:
            _say(f"  {note}")
    n_left_out = sum(len(record.problems) for record in records)
    if n_left_out:
        _say(f"{n_left_out} images have no usable label and are not split: offline-tools check")


def _say(line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
