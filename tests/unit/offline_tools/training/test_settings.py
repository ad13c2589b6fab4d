"""Settings: every wrong one named, at once; presets as published; no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from offline_tools.errors import InputError
from offline_tools.training.presets import PRESETS
from offline_tools.training.schedule import learning_rate
from offline_tools.training.settings import TrainSettings, checked, read_settings


def test_all_problems_are_reported_at_once_by_dotted_name() -> None:
    tree = {
        "epochs": 0,
        "colour": 1,
        "optimiser": {"learning_rate": -1e-3, "betas": [0.9, 1.0]},
        "loss": {"bce": 0.0, "focal": 1.0},
        "schedule": {"kind": "step", "factor": 1.5},
        "augmentation": {"scale": [1.2, 0.9]},
        "input": {"size_px": [224, 250]},
    }
    with pytest.raises(InputError) as problem:
        checked(tree, "f.toml")
    text = str(problem.value)
    assert text.startswith("f.toml: ")
    assert "\n" not in text
    for part in (
        "epochs = 0: input should be greater than or equal to 1",
        "colour is not a setting",
        "optimiser.learning_rate = -0.001: input should be greater than 0",
        "optimiser.betas.1 = 1.0: input should be less than 1",
        "loss.bce = 0.0: input should be greater than 0",
        "loss.focal is not a setting",
        "schedule.step.factor = 1.5: input should be less than or equal to 1",
        "augmentation: scale: expected the smaller one first",
        "input: size_px: expected multiples of 32",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        ({"loss": {}}, "loss: expected a weight for one of bce, dice, jaccard, skeleton"),
        ({"schedule": {"kind": "poly"}}, "schedule = {'kind': 'poly'}: input tag 'poly'"),
        ({"amp": "float16", "device": "cpu"}, "amp = 'float16' needs device cuda"),
        ({"ema_decay": 1.0}, "ema_decay = 1.0: input should be less than 1"),
        ({"loss": {"dice": float("nan")}}, "loss.dice = nan"),
        (
            {"flanks": {"steeper_than_deg": 91.0}},
            "flanks.steeper_than_deg = 91.0: input should be less than or equal to 90",
        ),
        ({"flanks": {"open_mm": -1.0}}, "flanks.open_mm = -1.0"),
    ],
)
def test_what_cannot_be_meant_is_refused(tree: dict[str, object], text: str) -> None:
    with pytest.raises(InputError) as problem:
        checked(tree, "settings")
    assert text in str(problem.value)


def test_a_file_holds_what_a_preset_holds(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text(
        'arch = "smp-unet-resnet34"\nepochs = 5\nema_decay = 0.9\n'
        '[loss]\njaccard = 2\n[optimiser]\nkind = "adam"\n[schedule]\nkind = "constant"\n'
        "[augmentation]\nscale = [0.9, 1.1]\n[simulated]\nn = 7\nweight = 0.5\n"
    )
    found = read_settings(path)
    assert found.arch == found.contract().arch == "smp-unet-resnet34"
    assert found.loss.weights() == {"jaccard": 2.0}
    assert found.schedule.kind == "constant"
    assert found.augmentation.scale == (0.9, 1.1)
    assert (found.simulated.n, found.simulated.weight) == (7, 0.5)
    assert checked(found.model_dump(mode="json"), "again") == found


@pytest.mark.parametrize(
    ("content", "text"),
    [("epochs = ", "not TOML"), (None, "cannot be read"), ("a = 1", "a is not")],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: str | None, text: str) -> None:
    path = tmp_path / "train.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=text):
        read_settings(path)


def test_changed_values_are_checked_and_none_changes_nothing() -> None:
    settings = TrainSettings()
    assert settings.changed({"epochs": None}) == settings
    assert settings.changed({"simulated.n": 3, "epochs": 2}).simulated.n == 3
    with pytest.raises(InputError, match=r"command line: simulated\.n = -1"):
        settings.changed({"simulated.n": -1}, "command line")


def rates(settings: TrainSettings, steps_per_epoch: int = 4) -> list[float]:
    """At the first step of every epoch."""
    return [
        learning_rate(settings, epoch * steps_per_epoch, steps_per_epoch)
        for epoch in range(settings.epochs)
    ]


def test_published_schedule_of_the_paper() -> None:
    found = rates(PRESETS["ultrabones-paper"].settings)
    assert found[0] == found[9] == 1e-5
    assert found[10] == pytest.approx(9e-6)
    assert found[99] == pytest.approx(3.874e-6, rel=1e-4)


def test_a_short_training_warms_up_in_its_first_half() -> None:
    settings = PRESETS["default"].settings.changed({"epochs": 1})
    rates = [learning_rate(settings, step, 8) for step in range(8)]
    assert rates[:5] == [2e-3 * share for share in (0.25, 0.5, 0.75, 1.0, 1.0)]
    assert rates[5] > rates[6] > rates[7] > 0.0


def test_cosine_rises_and_falls() -> None:
    schedule = {"kind": "cosine", "warmup_epochs": 2}
    tree = {"epochs": 10, "schedule": schedule, "optimiser": {"learning_rate": 0.8}}
    settings = checked(tree, "test")
    found = [learning_rate(settings, step, 4) for step in range(40)]
    assert found[:8] == pytest.approx([0.1 * k for k in range(1, 9)])
    assert found[8] == pytest.approx(0.8)
    assert found[24] == pytest.approx(0.4)  # half way
    assert found[8:] == sorted(found[8:], reverse=True)
    assert 0.0 < found[-1] < 0.01


def test_constant_stays() -> None:
    settings = checked({"epochs": 3, "schedule": {"kind": "constant"}}, "test")
    assert rates(settings) == [1e-3] * 3


def test_presets_are_what_was_published() -> None:
    readme, paper = (PRESETS[f"ultrabones-{name}"] for name in ("readme", "paper"))
    for preset, arch in ((readme, "smp-fpn-resnet34"), (paper, "smp-unet-resnet152")):
        settings = preset.settings
        assert settings.arch == arch
        assert settings.encoder_weights == "imagenet"
        assert settings.loss.weights() == {"bce": 1.0, "dice": 1.0}
        assert settings.optimiser.learning_rate == 1e-5
        assert (settings.epochs, settings.batch_size) == (100, 32)
        assert preset.contract.input.size_px == (256, 256)
        assert "Wu et al. 2025" in preset.source
        assert "keep their aspect" in preset.source
    assert paper.settings.optimiser.kind == "adam"
    assert paper.settings.optimiser.betas == (0.9, 0.999)


def test_default_preset_is_what_the_shipped_network_was_trained_with() -> None:
    """Against the contract inside the network that was exported then."""
    from inference.contract import read_contract

    root = Path(__file__).resolve().parents[4]
    shipped = read_contract(root / "inference/models/bone_half_unet.onnx")
    preset = PRESETS["default"]
    for part in ("arch", "input", "normalisation", "output", "geometry", "line"):
        assert getattr(preset.contract, part) == getattr(shipped, part)
    assert shipped.provenance["settings"] == preset.settings.model_dump(mode="json")


def test_settings_do_not_bring_torch() -> None:
    code = "import sys, offline_tools.training.presets; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
