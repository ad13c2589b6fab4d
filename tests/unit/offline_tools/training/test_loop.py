"""Network, loss, augmentation, training and export on a handful of simulated images."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="torch comes with the extra `train`")
pytest.importorskip("onnxscript", reason="onnxscript comes with the extra `train`")

from inference.contract import ModelContract, read_contract  # noqa: E402
from inference.runtime import NetworkSession  # noqa: E402
from offline_tools.deploy import export_onnx  # noqa: E402
from offline_tools.errors import InputError, WorkError  # noqa: E402
from offline_tools.training.augmentation import augment  # noqa: E402
from offline_tools.training.loop import load_run, train  # noqa: E402
from offline_tools.training.losses import batch_dice_loss, bone_loss  # noqa: E402
from offline_tools.training.networks import SmallUNet  # noqa: E402
from offline_tools.training.presets import TrainSettings  # noqa: E402

Arrays = tuple[NDArray[np.float32], NDArray[np.float32]]


def run_training(examples: Arrays, run: Path, contract: ModelContract, epochs: int) -> None:
    description = {"contract": contract.to_metadata(), "data": {"n": 8}, "made_with": {}}
    settings = TrainSettings(epochs=epochs, batch_size=4, learning_rate=3e-3, seed=1, n_threads=1)
    small = (examples[0][..., 32:128, 64:192], examples[1][..., 32:128, 64:192])  # for speed
    train(small, small, settings=settings, run=run, description=description)


@pytest.fixture(scope="module")
def run(
    examples: Arrays, contract: ModelContract, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run of 8 epochs on 8 images: 16 steps."""
    folder = tmp_path_factory.mktemp("run")
    run_training(examples, folder, contract, epochs=8)
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "network.onnx"
    result = export_onnx.export(run, out)
    assert result.largest_difference < 1e-5
    assert result.n_bytes == out.stat().st_size < 3_000_000
    return out


def test_network_keeps_the_size_and_is_small() -> None:
    network = SmallUNet()
    assert network(torch.zeros(2, 1, 32, 48)).shape == (2, 1, 32, 48)
    assert sum(p.numel() for p in network.parameters()) == 207_745


def test_loss_of_a_batch_without_bone_is_finite() -> None:
    empty = torch.zeros(2, 1, 8, 8)
    assert batch_dice_loss(empty, empty).item() == 0.0
    assert bone_loss(torch.full_like(empty, -20.0), empty).item() == pytest.approx(0.0, abs=1e-5)
    assert batch_dice_loss(torch.ones_like(empty), empty).item() == pytest.approx(1 - 1 / 129)


def test_right_answer_costs_less_than_its_mirror_image() -> None:
    target = torch.zeros(1, 1, 8, 8)
    target[..., :2, :] = 1.0
    logits = 20.0 * target - 10.0
    assert bone_loss(logits, target).item() == pytest.approx(0.0, abs=1e-2)
    assert bone_loss(logits.flip(2), target).item() > 10.0


def test_labels_move_with_their_images() -> None:
    """A bright disc whose target is the disc itself stays under its target."""
    v, u = torch.meshgrid(torch.arange(112.0), torch.arange(128.0), indexing="ij")
    disc = ((v - 40) ** 2 + (u - 90) ** 2 < 100).float().expand(16, 1, 112, 128).contiguous()
    images, targets = augment(0.9 * disc, disc, torch.Generator().manual_seed(5))
    for image, target in zip(images[:, 0], targets[:, 0], strict=True):
        bright = (image > 0.3).float()
        for axis in (u, v):
            at = [float((axis * mass).sum() / mass.sum()) for mass in (bright, target)]
            assert at[0] == pytest.approx(at[1], abs=1.0)
    centres = (u * targets[:, 0]).sum((1, 2)) / targets[:, 0].sum((1, 2))
    assert centres.std() > 10.0  # flips and shifts did happen


def test_augmentation_repeats_with_its_generator(examples: Arrays) -> None:
    images, targets = (torch.from_numpy(a) for a in examples)
    first, again = (augment(images, targets, torch.Generator().manual_seed(6))[0] for _ in range(2))
    assert torch.equal(first, again)
    assert float(first.min()) >= 0.0
    assert float(first.max()) <= 1.0


def test_loss_falls_and_is_logged(run: Path) -> None:
    with (run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == [str(k) for k in range(1, 9)]
    assert float(rows[-1]["train_loss"]) < 0.9 * float(rows[0]["train_loss"])
    assert json.loads((run / "run.json").read_text())["reached"]["epoch"] == 8


def test_same_seed_gives_the_same_weights(
    examples: Arrays, contract: ModelContract, tmp_path: Path
) -> None:
    few = (examples[0][:4], examples[1][:4])
    states = []
    for name in ("a", "b"):
        run_training(few, tmp_path / name, contract, epochs=1)
        states.append(load_run(tmp_path / name)[0].state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_exported_network_equals_torch(exported: Path, run: Path, examples: Arrays) -> None:
    with torch.no_grad():
        expected = torch.sigmoid(load_run(run)[0](torch.from_numpy(examples[0][:1])))
    found = NetworkSession(exported, "cpu").run(examples[0][:1])
    np.testing.assert_allclose(found, expected.numpy()[0, 0], atol=1e-5)


def test_exported_file_carries_contract_and_no_paths(
    exported: Path, contract: ModelContract
) -> None:
    found = read_contract(exported)
    assert found.input == contract.input
    assert found.provenance["settings"]["epochs"] == 8
    assert found.provenance["metrics"]["parity_max_abs"] < 1e-5
    assert found.provenance["metrics"]["simulated"]["n_frames"] == 10
    # The exporter notes source files, which say where we live.
    assert b"networks.py" not in exported.read_bytes()
    assert b"site-packages" not in exported.read_bytes()
    assert [path.name for path in exported.parent.iterdir()] == ["network.onnx"]


def test_export_that_differs_from_torch_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_onnx, "PARITY_TOLERANCE", -1.0)
    with pytest.raises(WorkError, match=r"differs from torch by .* nothing written"):
        export_onnx.export(run, tmp_path / "network.onnx")
    assert list(tmp_path.iterdir()) == []


def test_run_without_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no usable checkpoint there"):
        load_run(tmp_path)
