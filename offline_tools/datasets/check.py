"""Check a dataset: images and labels on either side, and everything that is wrong with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from offline_tools.datasets.blocks import guard_fault
from offline_tools.datasets.labels import MASKS, UNREADABLE, mask_fault, mask_paths
from offline_tools.datasets.records import IMAGES, Record, find_records, specimen_and_record
from offline_tools.datasets.split import Split, absent_names
from offline_tools.errors import OfflineToolsError
from tracking.errors import TrackingError


@dataclass(slots=True)
class CheckReport:
    """Counts, one line for each fault, and notes on what is unusual but right."""

    n_records: int = 0
    n_images: int = 0
    n_labels: int = 0
    n_examples: int = 0  # images with a usable label
    n_decided: int = 0  # images that labelling rejected or skipped
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_data(
    folders: Sequence[Path],
    split: Split | None = None,
    on_record: Callable[[int, int], None] = lambda n_done, n_total: None,
) -> CheckReport:
    """Look at every image and label of the records in the folders.

    A fault is an image without a label or a label without an image, a file that cannot be read, a
    label of another size than its image, with values other than 0 and 255, or empty, an image that
    occurs twice, a name in the split that is not in the data, and a guard band of the split that
    is not kept. An image that labelling left without a label is none.

    Raises
    ------
    InputError : a folder holds no record.
    """
    report = CheckReport()
    twins: dict[bytes, str] = {}
    folder_of: dict[str, Path] = {}
    records: list[Record] = []
    folders = find_records(folders)
    for n_done, folder in enumerate(folders, start=1):
        report.n_records += 1
        try:
            prefix = "/".join(specimen_and_record(folder))
            unreadable = _check_images(folder, prefix, twins, report)
            record = Record(folder)
        except (OfflineToolsError, TrackingError) as error:
            report.faults.append(str(error))
            continue
        _check_labels(record, unreadable, report)
        records.append(record)
        if folder_of.setdefault(prefix, folder) != folder:
            report.faults.append(f"{folder}: is {prefix}, as {folder_of[prefix]} is")
        on_record(n_done, len(folders))
    if split is not None:
        report.faults += _split_faults(split, records)
    return report


def _split_faults(split: Split, records: Sequence[Record]) -> Iterator[str]:
    names = [name for record in records for name in record.names]
    for name in absent_names(split, names):
        yield f"{name}: in the split, but no example in the data"
    if fault := guard_fault(split, records):
        yield f"split: {fault}"


def _check_images(
    folder: Path, prefix: str, twins: dict[bytes, str], report: CheckReport
) -> set[str]:
    """Every image can be read, and none shows exactly what another does; those that cannot."""
    unreadable = set()
    paths = sorted((folder / IMAGES).glob("*.png"))
    report.n_images += len(paths)
    for path in paths:
        name = f"{prefix}/{path.stem}"
        try:
            with Image.open(path) as image:
                content = repr((image.mode, image.size)).encode() + image.tobytes()
        except UNREADABLE as error:
            report.faults.append(f"{name}: image cannot be read: {error}")
            unreadable.add(name)
            continue
        twin = twins.setdefault(hashlib.sha256(content).digest(), name)
        if twin != name:
            report.faults.append(f"{name}: shows exactly what {twin} shows")
    return unreadable


def _check_labels(record: Record, unreadable: set[str], report: CheckReport) -> None:
    report.n_labels += record.n_labels
    report.n_examples += len(set(record.names) - unreadable)
    report.n_decided += sum(left.is_decided for left in record.left_out)
    report.faults += [
        f"{left.name}: {left.reason}"
        for left in record.left_out
        if not left.is_decided and left.name not in unreadable
    ]
    if record.label_note:
        report.notes.append(record.label_note)
    if record.label_kind == "contours":
        report.faults += _mask_faults(record)


def _mask_faults(record: Record) -> list[str]:
    """Of masks beside contours: nothing reads them when there are contours, but people do."""
    masks = mask_paths(record.folder / MASKS)
    faults = []
    for index, name in enumerate(record.names):
        path = masks.get(int(name.rpartition("/")[2]))
        reason = "no mask" if path is None else mask_fault(path, record.image_size_px(index))
        if reason:
            faults.append(f"{name}: {reason}")
    return faults
