"""Named recipes: what the network sees, and how it is trained. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field

from inference.contract import Geometry, InputSpec, ModelContract, Normalisation, OutputSpec


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train. The seed fixes initial weights, order and augmentation."""

    epochs: int = 60
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    ema_decay: float = 0.998
    seed: int = 0
    n_threads: int = 2
    checkpoint_every: int = 5


@dataclass(frozen=True, slots=True)
class Preset:
    """A recipe: `n_simulated` images join the recorded ones in training."""

    contract: ModelContract
    n_simulated: int
    settings: TrainSettings = field(default_factory=TrainSettings)


# 256 x 224 pixels of 0.2 mm: the 50.5 x 43.7 mm of UltraBones100k's images fit with little padding,
# and bone, some 0.5 to 1 mm thick in an image, stays several pixels thick.
_FIRST = Preset(
    contract=ModelContract(
        arch="depthwise-unet-16",
        intended_use=(
            "Research. Bone surface in linear-array B-mode images of long bones, transducer at the "
            "top. Not a medical device."
        ),
        input=InputSpec(name="image", size_px=(224, 256), spacing_mm=0.2),
        normalisation=Normalisation(scale=1.0 / 255.0, mean=0.0, std=1.0),
        output=OutputSpec(name="probability", activation="none", threshold=0.5),
        geometry=Geometry(spacing_range_mm=(0.05, 0.09)),
    ),
    n_simulated=250,
)

PRESETS = {"first": _FIRST}
