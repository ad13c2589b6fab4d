"""Named recipes: settings, and in a sentence where they come from. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from inference.contract import ModelContract
from offline_tools.training.settings import (
    AugmentationSettings,
    CosineSchedule,
    FlankSettings,
    InputSettings,
    LineSettings,
    LossSettings,
    OptimiserSettings,
    SimulatedSettings,
    StepSchedule,
    TrainSettings,
)


@dataclass(frozen=True, slots=True)
class Preset:
    """A recipe and its source."""

    settings: TrainSettings
    source: str

    @property
    def contract(self) -> ModelContract:
        return self.settings.contract()

    @property
    def n_simulated(self) -> int:
        return self.settings.simulated.n


# 256 x 224 pixels of 0.2 mm: the 50.5 x 43.7 mm of UltraBones100k's images fit with little padding,
# and bone, some 0.5 to 1 mm thick in an image, stays several pixels thick.
_FIRST = Preset(
    TrainSettings(
        # Cross-entropy alone is tiny where bone covers 2 % of the pixels; 5 balances it with Dice.
        loss=LossSettings(bce=5.0, dice=1.0),
        optimiser=OptimiserSettings(kind="adamw", learning_rate=1e-3, weight_decay=1e-2),
        schedule=CosineSchedule(),
        augmentation=AugmentationSettings(
            shear=0.0,
            speckle=0.2,
            speckle_axial_px=0.0,
            speckle_lateral_px=0.0,
            shadow_probability=0.0,
            strip_probability=0.0,
        ),
        simulated=SimulatedSettings(n=250),
        epochs=60,
        ema_decay=0.998,
    ),
    source="The recipe of the first network that shipped with navapp; `default` followed it.",
)

# Mean and standard deviation of UltraBones100k's grey values / 255, as the published code has them.
# The published code stretches 950 x 811 pixels onto 256 x 256; we keep the aspect and pad below.
_ULTRABONES_INPUT = InputSettings(size_px=(256, 256), spacing_mm=0.2, mean=0.174758, std=0.164759)

# The published transforms that suit ultrasound: their vertical flip is left out (no shadow lies
# above its bone), their rotation of 30 degrees kept to what a held probe does.
_ULTRABONES_AUGMENTATION = AugmentationSettings(
    rotation_deg=15.0,
    scale=(1.0, 1.0),
    shift_share=0.1,
    shear=0.25,
    speckle=0.0,
    noise=0.0,
    shadow_probability=0.0,
    strip_probability=0.0,
)
_GEOMETRY_NOTE = (
    "Different here: images keep their aspect at 0.2 mm per pixel on 256 x 256 (theirs are "
    "stretched), no vertical flip, milder augmentation, weights of the best epoch by validation."
)

_ULTRABONES_README = Preset(
    TrainSettings(
        arch="smp-fpn-resnet34",
        encoder_weights="imagenet",
        input=_ULTRABONES_INPUT,
        loss=LossSettings(bce=1.0, dice=1.0),
        optimiser=OptimiserSettings(kind="adamw", learning_rate=1e-5),
        schedule=StepSchedule(kind="step", every_epochs=10, factor=0.8),
        augmentation=_ULTRABONES_AUGMENTATION,
        simulated=SimulatedSettings(n=0),
        batch_size=32,
        epochs=100,
        ema_decay=None,
        amp="off",
    ),
    source=(
        "README of UltraBones100k (Wu et al. 2025): FPN with ResNet-34, Dice + BCE, learning rate "
        "1e-5, 100 epochs; batch 32, AdamW and x0.8 every 10 epochs from its code. "
        + _GEOMETRY_NOTE
    ),
)

_ULTRABONES_PAPER = Preset(
    TrainSettings(
        arch="smp-unet-resnet152",
        encoder_weights="imagenet",
        input=_ULTRABONES_INPUT,
        loss=LossSettings(bce=1.0, dice=1.0),
        optimiser=OptimiserSettings(
            kind="adam", learning_rate=1e-5, betas=(0.9, 0.999), weight_decay=0.0
        ),
        schedule=StepSchedule(kind="step", every_epochs=10, factor=0.9),
        augmentation=_ULTRABONES_AUGMENTATION,
        simulated=SimulatedSettings(n=0),
        batch_size=32,
        epochs=100,
        ema_decay=None,
        amp="off",
    ),
    source=(
        "Supplement of UltraBones100k (Wu et al. 2025): U-Net with ResNet-152 and ImageNet "
        "weights, Dice + BCE, Adam (0.9, 0.999), learning rate 1e-5 x0.9 every 10 epochs, batch "
        "32, 100 epochs, 256 x 256. " + _GEOMETRY_NOTE
    ),
)

# Chosen by leaving one block of bone out at a time; docs/training-log.md has what else was tried.
_DEFAULT = Preset(
    TrainSettings(
        arch="half-unet-32",
        loss=LossSettings(bce=5.0, dice=1.0),
        optimiser=OptimiserSettings(kind="adamw", learning_rate=2e-3, weight_decay=1e-2),
        schedule=CosineSchedule(warmup_epochs=2),
        augmentation=AugmentationSettings(
            shear=0.0,
            speckle=0.2,
            speckle_axial_px=0.0,
            speckle_lateral_px=0.0,
            shadow_probability=0.4,
            belly_probability=0.5,
        ),
        simulated=SimulatedSettings(n=300),
        flanks=FlankSettings(steeper_than_deg=60.0, fainter_than=0.3, open_mm=2.0),
        line=LineSettings(weak=0.6, strong=0.9, close_gap_mm=1.0, narrowest_mm=3.0),
        epochs=24,
        n_threads=1,
        ema_decay=0.995,
        keep="last",
    ),
    source="The recipe of the network that ships with navapp, see docs/training-log.md.",
)

PRESETS = {
    "default": _DEFAULT,
    "first": _FIRST,
    "ultrabones-readme": _ULTRABONES_README,
    "ultrabones-paper": _ULTRABONES_PAPER,
}
