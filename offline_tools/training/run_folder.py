"""The folder of a run: what lies in it, each file whole or as it was before.

run.json       effective settings, contract, data, versions; epochs reached, epoch kept (best)
log.csv        one row per epoch
checkpoint.pt  weights of the epoch kept, averaged: the best by validation, or the last
last.pt        everything needed to continue after the last epoch
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from offline_tools.errors import InputError, WorkError
from tracking.errors import WriteError
from tracking.sequences.written import new_file

CHECKPOINT_NAME = "checkpoint.pt"
LAST_NAME = "last.pt"
RUN_NAME = "run.json"
LOG_NAME = "log.csv"


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What one epoch gave; validation is measured with the averaged weights.

    `terms` are the parts of the training loss; `f1` is the mean per-frame F1 of the decoded bone
    line at 0.5 and 1.0 mm, in network pixels.
    """

    epoch: int
    train_loss: float
    terms: Mapping[str, float]
    validation_loss: float
    f1: tuple[float, float]
    learning_rate: float
    seconds: float

    def is_better_than(self, other: EpochResult | None) -> bool:
        """F1 at 0.5 mm decides, of equal ones the loss."""
        if other is None:
            return True
        return (self.f1[0], -self.validation_loss) > (other.f1[0], -other.validation_loss)

    def row(self) -> dict[str, int | float]:
        """As in `log.csv`."""
        return {
            "epoch": self.epoch,
            "train_loss": self.train_loss,
            **{f"train_{name}": value for name, value in self.terms.items()},
            "validation_loss": self.validation_loss,
            "validation_f1_0.5mm": self.f1[0],
            "validation_f1_1.0mm": self.f1[1],
            "learning_rate": self.learning_rate,
            "seconds": round(self.seconds, 3),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any], terms: Sequence[str]) -> Self:
        return cls(
            epoch=row["epoch"],
            train_loss=row["train_loss"],
            terms={name: row[f"train_{name}"] for name in terms},
            validation_loss=row["validation_loss"],
            f1=(row["validation_f1_0.5mm"], row["validation_f1_1.0mm"]),
            learning_rate=row["learning_rate"],
            seconds=row["seconds"],
        )


def check_free(run: Path, resume: bool) -> None:
    """Raises InputError where a training lies in `run` that is not meant to be continued."""
    if (run / LAST_NAME).exists() and not resume:
        raise InputError(f"run {run}: holds a training already; --resume continues it")


def write_log(run: Path, results: Sequence[EpochResult]) -> None:
    """`log.csv` as a whole, so that a line is never half there or there twice."""
    text = io.StringIO(newline="")
    log = csv.DictWriter(text, list(results[0].row()))
    log.writeheader()
    log.writerows(result.row() for result in results)
    _write(run / LOG_NAME, text.getvalue().encode())


def write_description(run: Path, description: Mapping[str, Any]) -> None:
    """`run.json`."""
    _write(run / RUN_NAME, json.dumps(description, indent=2).encode())


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Tensors and plain values; the buffer makes a full disk an OSError of our own writing."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    _write(path, buffer.getbuffer())


def read_state(path: Path) -> dict[str, Any]:
    """What `write_state` wrote, on the CPU.

    Raises
    ------
    InputError : not there, or not of torch.
    """
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # noqa: BLE001  torch.load raises what its unpickler met
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: no usable checkpoint there ({reason})") from None


def read_description(run: Path) -> dict[str, Any]:
    """`run.json`.

    Raises
    ------
    InputError : not there or not JSON.
    """
    try:
        return dict(json.loads((run / RUN_NAME).read_text()))
    except (OSError, ValueError) as error:
        raise InputError(f"run {run}: no usable checkpoint there ({error})") from None


def load_weights(network: torch.nn.Module, path: Path) -> None:
    """Weights of a file into a network of the same architecture.

    Raises
    ------
    InputError : no weights there, or of another architecture.
    """
    state = read_state(path)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: weights of another architecture, expected {type(network).__name__}'s "
            f"({reason[:160]} ...)"
        ) from None


def _write(path: Path, content: bytes | memoryview) -> None:
    try:
        with new_file(path, replaces=True) as file:
            file.write(content)
    except WriteError as error:
        raise WorkError(f"{error}; what was saved before is kept") from None
