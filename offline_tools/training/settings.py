"""Everything that decides a training, typed and checked; every problem is reported at once.

A recipe is data: a preset in `presets.py` or a TOML file with the same names. No torch here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inference.contract import (
    Geometry,
    InputSpec,
    LineSpec,
    ModelContract,
    Normalisation,
    OutputSpec,
)
from offline_tools.errors import InputError

Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]

# The deepest networks here halve their input five times.
_SIZE_STEP_PX = 32


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSettings(_Section):
    """How images go into the network; the exported contract says the same."""

    size_px: tuple[Count, Count] = (224, 256)
    """(rows, columns), multiples of 32."""
    spacing_mm: Positive = 0.2
    """One network pixel, the same in both directions."""
    spacing_range_mm: tuple[Positive, Positive] = (0.05, 0.09)
    """Pixel spacings of the images trained on."""
    mean: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    std: Positive = 1.0
    """Of the grey values / 255."""

    @model_validator(mode="after")
    def _fits_the_networks(self) -> Self:
        if any(size % _SIZE_STEP_PX for size in self.size_px):
            raise ValueError(f"size_px: expected multiples of {_SIZE_STEP_PX}")
        if self.spacing_range_mm[0] > self.spacing_range_mm[1]:
            raise ValueError("spacing_range_mm: expected the smaller one first")
        return self


class LossSettings(_Section):
    """Weights of the terms that are added up; a term that is not named is not computed."""

    bce: Positive | None = None
    dice: Positive | None = None
    jaccard: Positive | None = None
    skeleton: Positive | None = None
    """A reward for bone on the very line: minus the weight at best, so that a loss may be < 0."""

    @model_validator(mode="after")
    def _has_a_term(self) -> Self:
        if not self.weights():
            raise ValueError(f"expected a weight for one of {', '.join(type(self).model_fields)}")
        return self

    def weights(self) -> dict[str, float]:
        """The terms in use."""
        return self.model_dump(exclude_none=True)


class OptimiserSettings(_Section):
    """Adam adds weight decay to the gradient, AdamW shrinks the weights by it."""

    kind: Literal["adam", "adamw"] = "adamw"
    learning_rate: Positive = 1e-3
    betas: tuple[
        Annotated[float, Field(ge=0.0, lt=1.0)], Annotated[float, Field(ge=0.0, lt=1.0)]
    ] = (0.9, 0.999)
    weight_decay: NonNegative = 1e-2


class ConstantSchedule(_Section):
    """The learning rate stays."""

    kind: Literal["constant"]


class StepSchedule(_Section):
    """The learning rate is multiplied by `factor` every so many epochs."""

    kind: Literal["step"]
    every_epochs: Count = 10
    factor: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9


class CosineSchedule(_Section):
    """Half a cosine down to 0 over the whole training, after a straight rise.

    The rise takes `warmup_epochs`, in a short training its first half at most.
    """

    kind: Literal["cosine"] = "cosine"
    warmup_epochs: Natural = 0


class AugmentationSettings(_Section):
    """Random variation of every image: how far each goes, 0 or equal limits for none."""

    flip_probability: Share = 0.5
    rotation_deg: Annotated[float, Field(ge=0.0, le=45.0)] = 10.0
    scale: tuple[Positive, Positive] = (0.88, 1.18)
    shift_share: Annotated[float, Field(ge=0.0, le=0.5)] = 0.09
    """Of the image's width and height."""
    shear: Annotated[float, Field(ge=0.0, le=0.5)] = 0.05
    """Sideways, per pixel of depth."""
    log_gamma: NonNegative = 0.35
    log_gain: NonNegative = 0.35
    log_depth_gain: NonNegative = 0.5
    """At the top and, opposite, at the bottom: tissue that attenuates more or less than usual."""
    blur_probability: Share = 0.5
    blur_px: tuple[Positive, Positive] = (0.3, 1.2)
    speckle: NonNegative = 0.25
    speckle_axial_px: NonNegative = 0.6
    speckle_lateral_px: NonNegative = 1.2
    """The point spread that correlates neighbours; 0: none."""
    noise: NonNegative = 0.03
    shadow_probability: Share = 0.25
    shadow_width_share: tuple[Positive, Positive] = (0.03, 0.2)
    """Of the image's width: where the probe does not touch, or gas or a tendon lies above."""
    strip_probability: Share = 0.2
    """Bright lines near the top, as a probe's cover makes them."""
    belly_probability: Share = 0.0
    """Dark ellipses with a bright edge, as muscle, vessels and tendons show: no bone."""

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        for name in ("scale", "blur_px", "shadow_width_share"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: expected the smaller one first")
        return self


class LineSettings(_Section):
    """How the bone line is read from the probability; see `inference.contract.LineSpec`."""

    weak: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    strong: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    choice: Literal["run", "fragment", "first"] = "run"
    close_gap_mm: NonNegative = 0.0
    narrowest_mm: NonNegative = 1.0


class SimulatedSettings(_Section):
    """Simulated images that join the recorded ones."""

    n: Natural = 250
    weight: Positive = 1.0
    """How often each is seen per epoch: 0.2 draws a fifth of them anew for every epoch."""


class FlankSettings(_Section):
    """Ends of labels that an image does not show; see `offline_tools.datasets.flanks`."""

    steeper_than_deg: Annotated[float, Field(ge=0.0, le=90.0)] = 60.0
    fainter_than: Share = 0.3
    open_mm: NonNegative = 2.0
    """So far past the last echo a flank is neither bone nor background, then background."""


class TrainSettings(_Section):
    """One training. The seed fixes initial weights, order and augmentation."""

    arch: str = "depthwise-unet-16"
    encoder_weights: Literal["random", "imagenet"] = "random"
    """Of networks with a ready-made encoder. ImageNet's are fetched where they can be had."""
    input: InputSettings = InputSettings()
    loss: LossSettings = LossSettings(bce=5.0, dice=1.0)
    optimiser: OptimiserSettings = OptimiserSettings()
    schedule: Annotated[
        ConstantSchedule | StepSchedule | CosineSchedule, Field(discriminator="kind")
    ] = CosineSchedule()
    augmentation: AugmentationSettings = AugmentationSettings()
    simulated: SimulatedSettings = SimulatedSettings()
    flanks: FlankSettings | None = None
    """Flanks that nobody sees are not taught as bone. None: labels count as they are."""
    line: LineSettings = LineSettings()
    batch_size: Count = 8
    epochs: Count = 60
    ema_decay: Annotated[float, Field(gt=0.0, lt=1.0)] | None = 0.998
    """Of the averaged weights, which are what is kept. None: the last weights themselves."""
    keep: Literal["best", "last"] = "best"
    """Which epoch's weights: the best by validation, or the last. Validated on a few images of one
    bone, the best is a matter of chance."""
    amp: Literal["off", "bfloat16", "float16"] = "bfloat16"
    """Precision of the forward pass; float16 needs CUDA."""
    seed: Natural = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    n_threads: Count = 2

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.amp == "float16" and self.device == "cpu":
            raise ValueError("amp = 'float16' needs device cuda, expected bfloat16 or off on a CPU")
        return self

    def contract(self) -> ModelContract:
        """What an exported network of these settings says about itself."""
        spec = self.input
        return ModelContract(
            arch=self.arch,
            intended_use=(
                "Research. Bone surface in linear-array B-mode images of long bones, transducer at "
                "the top. Not a medical device."
            ),
            input=InputSpec(name="image", size_px=spec.size_px, spacing_mm=spec.spacing_mm),
            normalisation=Normalisation(scale=1.0 / 255.0, mean=spec.mean, std=spec.std),
            output=OutputSpec(name="probability", activation="none", threshold=0.5),
            geometry=Geometry(spacing_range_mm=spec.spacing_range_mm),
            line=LineSpec(**self.line.model_dump()),
        )

    def changed(self, values: Mapping[str, Any], source: str = "settings") -> TrainSettings:
        """The same with other values by dotted name; None changes nothing. Checked again.

        Raises
        ------
        InputError : see `checked`.
        """
        tree = self.model_dump()
        for name, value in values.items():
            if value is not None:
                *sections, key = name.split(".")
                section = tree
                for part in sections:
                    section = section[part]
                section[key] = value
        return checked(tree, source)


def read_settings(path: Path) -> TrainSettings:
    """Settings from a TOML file; what it leaves out keeps its default.

    Raises
    ------
    InputError : not there, not TOML, or see `checked`.
    """
    try:
        return checked(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}") from None


def checked(tree: Mapping[str, Any], source: str) -> TrainSettings:
    """Settings from plain values; `source` names them in errors.

    Raises
    ------
    InputError : one line with every unknown name, wrong type and value out of range.
    """
    try:
        return TrainSettings.model_validate(tree)
    except ValidationError as error:
        problems = "; ".join(_describe(problem) for problem in error.errors())
        raise InputError(f"{source}: {problems}") from None


def _describe(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{name} is not a setting"
    if problem["type"] == "value_error":  # found by us, about several values together
        return f"{name}: {message}" if name else message
    return f"{name} = {problem['input']!r}: {message.lower()}"
