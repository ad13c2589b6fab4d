"""Training on a handful of drawn images: learning, keeping the best, stopping, continuing."""

from __future__ import annotations

import csv
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes with the extra `train`")

from offline_tools.datasets.examples import Examples  # noqa: E402
from offline_tools.errors import InputError, WorkError  # noqa: E402
from offline_tools.training import loop  # noqa: E402
from offline_tools.training.loop import load_run, train  # noqa: E402
from offline_tools.training.run_folder import EpochResult  # noqa: E402
from offline_tools.training.settings import TrainSettings  # noqa: E402
from tests.support.training import drawn_examples  # noqa: E402

FILES = ["checkpoint.pt", "last.pt", "log.csv", "run.json"]
_ROOT = Path(__file__).resolve().parents[4]


def run_training(examples: Examples, settings: TrainSettings, run: Path, **more: Any) -> None:
    train(examples, examples, settings=settings, run=run, description={"data": {"n": 1}}, **more)


def weights(run: Path, name: str = "checkpoint.pt") -> dict[str, Any]:
    return dict(torch.load(run / name, weights_only=True))


def log(run: Path) -> list[dict[str, str]]:
    """Rows of the log without the seconds that an epoch took."""
    with (run / "log.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def assert_same(run: Path, other: Path) -> None:
    """Bit by bit: weights, averages, moments and log."""
    there, here = (weights(folder, "last.pt") for folder in (run, other))
    for part in ("network", "averaged"):
        assert all(torch.equal(there[part][key], here[part][key]) for key in there[part])
    moments = [state["optimiser"]["state"] for state in (there, here)]
    assert all(
        torch.equal(moments[0][k][name], moments[1][k][name])
        for k in moments[0]
        for name in ("exp_avg", "exp_avg_sq")
    )
    assert all(torch.equal(value, weights(other)[key]) for key, value in weights(run).items())
    assert log(run) == log(other)


@pytest.fixture(scope="module")
def run(drawn: Examples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 12 epochs, which finds the lines."""
    folder = tmp_path_factory.mktemp("run")
    settings = TrainSettings(epochs=12, batch_size=4, n_threads=1, device="cpu", ema_decay=0.8)
    given = {"input.size_px": (64, 96), "optimiser.learning_rate": 1e-2}
    run_training(drawn, settings.changed(given), folder)
    return folder


def test_lines_are_learnt_and_every_epoch_is_logged(run: Path) -> None:
    rows = log(run)
    assert list(rows[0]) == [
        "epoch", "train_loss", "train_bce", "train_dice", "validation_loss",
        "validation_f1_0.5mm", "validation_f1_1.0mm", "learning_rate",
    ]  # fmt: skip
    assert [row["epoch"] for row in rows] == [str(k) for k in range(1, 13)]
    first, last = ({k: float(v) for k, v in row.items()} for row in (rows[0], rows[-1]))
    assert last["train_loss"] < 0.7 * first["train_loss"]
    assert last["train_loss"] == pytest.approx(last["train_bce"] + last["train_dice"])
    assert last["validation_f1_0.5mm"] > 0.8
    assert last["validation_f1_0.5mm"] <= last["validation_f1_1.0mm"]
    assert first["learning_rate"] > last["learning_rate"] > 0.0


def test_run_describes_itself(run: Path) -> None:
    network, description = load_run(run)
    assert not network.training
    assert description["data"] == {"n": 1}
    assert description["settings"]["arch"] == "depthwise-unet-16"
    assert json.loads(description["contract"]["navapp.input"])["size_px"] == [64, 96]
    assert description["reached"]["epoch"] == 12
    assert description["n_weights"] == 207_745
    assert description["initial_weights"] == "random"
    best = max(log(run), key=lambda row: float(row["validation_f1_0.5mm"]))
    assert description["best"]["validation_f1_0.5mm"] == float(best["validation_f1_0.5mm"])


@pytest.mark.parametrize(
    ("f1", "loss", "is_better"),
    [(0.6, 9.0, True), (0.5, 0.9, True), (0.5, 1.0, False), (0.5, 1.1, False), (0.4, 0.1, False)],
)
def test_f1_decides_and_of_equals_the_loss(f1: float, loss: float, is_better: bool) -> None:
    best = EpochResult(1, 1.0, {"bce": 1.0}, 1.0, (0.5, 0.9), 1e-3, 1.0)
    other = replace(best, validation_loss=loss, f1=(f1, 0.0))
    assert other.is_better_than(best) is is_better
    assert other.is_better_than(None)


@pytest.mark.parametrize(("keep", "kept_epoch"), [("best", 2), ("last", 3)])
def test_checkpoint_is_that_of_the_best_epoch_or_the_last(
    drawn: Examples,
    small_settings: TrainSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keep: str,
    kept_epoch: int,
) -> None:
    scores = iter([0.5, 0.7, 0.6])
    monkeypatch.setattr(loop, "validate", lambda *_: (1.0, (next(scores), 0.9)))
    kept = []
    settings = small_settings.changed({"ema_decay": 0.5, "keep": keep})
    run_training(drawn, settings, tmp_path, on_epoch=lambda _: kept.append(weights(tmp_path)))
    key = "head.weight"
    assert not torch.equal(kept[0][key], kept[1][key])
    assert torch.equal(kept[1][key], kept[2][key]) is (keep == "best")
    description = json.loads((tmp_path / "run.json").read_text())
    assert (description["best"]["epoch"], description["reached"]["epoch"]) == (kept_epoch, 3)


def test_same_seed_gives_the_same_curve_and_another_seed_another(
    drawn: Examples, small_settings: TrainSettings, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        run_training(drawn, small_settings, tmp_path / name)
    assert_same(tmp_path / "a", tmp_path / "b")
    run_training(drawn, small_settings.changed({"seed": 1}), tmp_path / "c")
    assert log(tmp_path / "c") != log(tmp_path / "a")


class Ending:
    """Images that send this process a signal in the middle of the third epoch."""

    def __init__(self, images: Any, end: signal.Signals) -> None:
        self._images, self._end, self._n_batches = images, end, 0

    def __getitem__(self, chosen: Any) -> Any:
        self._n_batches += 1
        if self._n_batches == 8:
            signal.raise_signal(self._end)
        return self._images[chosen]


def train_until(end: signal.Signals, run: Path, settings: TrainSettings) -> None:
    whole = drawn_examples(12)
    ending = replace(whole, images=Ending(whole.images, end))
    train(ending, whole, settings=settings, run=run, description={})


_CHILD = """
import signal, sys
from pathlib import Path
from offline_tools.training.settings import checked
sys.path.insert(0, sys.argv[1])
from test_loop import train_until
train_until(signal.SIGKILL, Path(sys.argv[2]), checked(eval(sys.argv[3]), "test"))
"""


@pytest.mark.timeout(240)  # a second process on a busy machine
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_ended_and_continued_equals_uninterrupted(
    drawn: Examples, small_settings: TrainSettings, tmp_path: Path, end: signal.Signals
) -> None:
    settings = small_settings.changed({"simulated.weight": 0.5})
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    if end == signal.SIGKILL:
        here = str(Path(__file__).parent)
        code = [sys.executable, "-c", _CHILD, here, str(broken), repr(settings.model_dump())]
        done = subprocess.run(code, cwd=_ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
    else:  # Ctrl-C, as it arrives here, also where the runner was started with it ignored
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                train_until(end, broken, settings)
        finally:
            signal.signal(signal.SIGINT, before)
    assert len(log(broken)) == 2
    assert sorted(path.name for path in broken.iterdir()) == FILES
    run_training(drawn, settings, broken, resume=True)
    run_training(drawn, settings, whole)
    assert_same(broken, whole)


def test_a_finished_run_that_is_continued_stays_as_it_is(
    drawn: Examples, small_settings: TrainSettings, tmp_path: Path
) -> None:
    run_training(drawn, small_settings, tmp_path, resume=True)  # nothing there yet: begins
    before = weights(tmp_path), log(tmp_path)
    run_training(drawn, small_settings, tmp_path, resume=True)
    assert log(tmp_path) == before[1]
    assert all(torch.equal(v, before[0][k]) for k, v in weights(tmp_path).items())


def test_what_does_not_fit_is_refused_in_one_line(
    drawn: Examples, small_settings: TrainSettings, tmp_path: Path
) -> None:
    run_training(drawn, small_settings, tmp_path)
    with pytest.raises(InputError, match="holds a training already; --resume continues it"):
        run_training(drawn, small_settings, tmp_path)
    other = small_settings.changed({"epochs": 4, "loss.jaccard": 2.0})
    match = r"epochs is 3 there, 4 here; loss.jaccard is None there, 2.0 here"
    with pytest.raises(InputError, match=match):
        run_training(drawn, other, tmp_path, resume=True)
    arch = small_settings.changed({"arch": "smp-fpn-resnet34"})
    with pytest.raises(InputError, match="arch is 'depthwise-unet-16' there, 'smp-fpn-resnet34'"):
        run_training(drawn, arch, tmp_path, resume=True)
    fewer = drawn.subset(drawn.names[:8])
    with pytest.raises(InputError, match="a training on other images"):
        run_training(fewer, small_settings, tmp_path, resume=True)
    (tmp_path / "last.pt").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"last.pt: no usable checkpoint there"):
        run_training(drawn, small_settings, tmp_path, resume=True)


def test_nothing_to_train_or_validate_with_is_refused(
    drawn: Examples, small_settings: TrainSettings, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="0 images to train and 12 to validate with"):
        train(drawn.subset([]), drawn, settings=small_settings, run=tmp_path, description={})
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number_stops_with_epoch_and_step(
    drawn: Examples, small_settings: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, n_calls = loop.augment, 0

    def spoilt(*arguments: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        images, targets = real(*arguments)
        return (images * float("nan") if n_calls == 5 else images), targets

    monkeypatch.setattr(loop, "augment", spoilt)
    with pytest.raises(WorkError, match=r"epoch 2, step 2 of 3: the loss is nan; stopped"):
        run_training(drawn, small_settings, tmp_path)
    assert len(log(tmp_path)) == 1
    assert all(value.isfinite().all() for value in weights(tmp_path).values())
    assert weights(tmp_path, "last.pt")["best_epoch"] == 1


def test_infinite_gradients_stop_before_they_reach_the_weights(
    drawn: Examples, small_settings: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def steep(logits: Any, *_: Any) -> dict[str, Any]:
        return {"bce": (logits.abs() * 0.0).sqrt().sum()}  # 0, and its slope is not finite

    monkeypatch.setattr(loop, "loss_terms", steep)
    with pytest.raises(WorkError, match=r"epoch 1, step 1 of 3: the gradients' norm is nan"):
        run_training(drawn, small_settings, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_weights_spoilt_by_the_last_step_of_an_epoch_stop_with_epoch_and_step(
    drawn: Examples, small_settings: TrainSettings, tmp_path: Path
) -> None:
    settings = small_settings.changed(
        {
            "optimiser.learning_rate": 1e30,
            "batch_size": len(drawn),
            "schedule": {"kind": "constant"},
        }
    )
    with pytest.raises(WorkError, match=r"epoch 1, after step 1 of 1: .* not finite; stopped"):
        run_training(drawn, settings, tmp_path)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    """Files cannot grow beyond it: writing fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_space_left_is_one_line_and_keeps_the_last_epoch(
    drawn: Examples, small_settings: TrainSettings, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"

    def fills(result: EpochResult) -> None:
        if result.epoch == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))

    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    with largest_file(hard), pytest.raises(WorkError) as problem:
        run_training(drawn, small_settings, broken, on_epoch=fills)
    assert "cannot be written: File too large; what was saved before is kept" in str(problem.value)
    assert len(log(broken)) == 1
    assert sorted(path.name for path in broken.iterdir()) == FILES
    run_training(drawn, small_settings, broken, resume=True)
    assert len(log(broken)) == 3


def test_weights_from_a_file_begin_a_training(
    drawn: Examples, run: Path, small_settings: TrainSettings, tmp_path: Path
) -> None:
    settings = small_settings.changed({"epochs": 1, "optimiser.learning_rate": 1e-9})
    run_training(drawn, settings, tmp_path / "run", init=run / "checkpoint.pt")
    key = "head.weight"
    torch.testing.assert_close(weights(tmp_path / "run")[key], weights(run)[key])
    assert json.loads((tmp_path / "run/run.json").read_text())["initial_weights"] == "checkpoint.pt"
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other.pt: weights of another architecture") as problem:
        run_training(drawn, settings, tmp_path / "refused", init=tmp_path / "other.pt")
    assert "\n" not in str(problem.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the test lacks")
def test_a_device_that_is_not_there_is_refused(
    drawn: Examples, small_settings: TrainSettings, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="torch finds no CUDA device here"):
        run_training(drawn, small_settings.changed({"device": "cuda"}), tmp_path)
    half = small_settings.changed({"device": "auto", "amp": "float16"})
    with pytest.raises(InputError, match="amp is 'float16' on a CPU"):
        run_training(drawn, half, tmp_path)


def test_run_without_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no usable checkpoint there"):
        load_run(tmp_path)


def test_images_are_varied_as_grey_and_come_back_normalised(
    drawn: Examples, small_settings: TrainSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = []

    def watched(images: Any, targets: Any, *_: Any) -> Any:
        seen.append((float(images.min()), float(images.max())))
        return images, targets

    monkeypatch.setattr(loop, "augment", watched)
    given = {"input.mean": 0.25, "input.std": 0.125, "epochs": 1}
    normalised = replace(drawn, images=(drawn.images - 0.25) / 0.125)
    run_training(normalised, small_settings.changed(given), tmp_path)
    np.testing.assert_allclose(min(seen)[0], drawn.images.min(), atol=1e-6)
