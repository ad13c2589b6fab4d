"""The training loop: examples in, a run folder with checkpoints and a log out.

What an epoch does follows from the settings, the seed and its number, and from the weights and
moments before it; these are saved after every epoch. A training that was killed and continued
therefore ends with the very weights of one that was not.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from inference.errors import InferenceError
from offline_tools.datasets.examples import Examples
from offline_tools.errors import InputError, WorkError
from offline_tools.training.augmentation import augment
from offline_tools.training.losses import loss_terms
from offline_tools.training.networks import build_network, initial_network
from offline_tools.training.optimisation import averaged, make_optimiser
from offline_tools.training.order import epoch_order, epoch_seed
from offline_tools.training.run_folder import (
    CHECKPOINT_NAME,
    LAST_NAME,
    EpochResult,
    check_free,
    load_weights,
    read_description,
    read_state,
    write_description,
    write_log,
    write_state,
)
from offline_tools.training.schedule import learning_rate
from offline_tools.training.settings import TrainSettings
from offline_tools.training.validation import validate

_AMP = {"off": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# float16 gradients overflow now and then and are scaled down; below this they are truly infinite.
_SMALLEST_SCALE = 1.0


def train(
    examples: Examples,
    validation: Examples,
    *,
    settings: TrainSettings,
    run: Path,
    description: Mapping[str, Any],
    resume: bool = False,
    init: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
    on_epoch: Callable[[EpochResult], None] = lambda _: None,
) -> None:
    """Train a network; after every epoch `run` can be exported, or continued with `resume`.

    The same seed on the same machine gives the same weights. With `resume` and an empty folder the
    training begins.

    Parameters
    ----------
    description : what else `run.json` should say (data, split, versions).
    init : weights to begin with, of the same architecture.

    Raises
    ------
    InputError : no image to train or validate with; a device that is not there; `run` holds a
        training already (without `resume`), or one of other settings or data (with it).
    WorkError : a loss or gradient is not finite, or no space is left; what was saved is kept.
    """
    if not len(examples) or not len(validation):
        raise InputError(
            f"{len(examples)} images to train and {len(validation)} to validate with, expected "
            "some of each"
        )
    identity = {
        "settings": settings.model_dump(mode="json"),
        "examples": _examples_sha256(examples),
    }
    last = run / LAST_NAME
    check_free(run, resume)
    state = _checked_state(last, identity) if last.exists() else None
    training = _Training(examples, validation, settings, init, state)
    n_weights = sum(weight.numel() for weight in training.kept.parameters())
    say(
        f"{settings.arch}: {n_weights / 1e6:.2f} million weights, initially "
        f"{training.initial_weights}, on {training.device}"
        + (f"; continues after epoch {len(training.results)}" if training.results else "")
    )
    run.mkdir(parents=True, exist_ok=True)
    about = {
        **description,
        "contract": settings.contract().to_metadata(),
        "settings": identity["settings"],
        "n_weights": n_weights,
        "initial_weights": training.initial_weights,
        "device": str(training.device),
    }
    for epoch in range(len(training.results) + 1, settings.epochs + 1):
        result = training.epoch(epoch)
        if training.best is result:
            write_state(run / CHECKPOINT_NAME, training.kept.state_dict())
        # This file says that the epoch is done. What is written around it is written again,
        # alike, by a training that continues.
        write_state(last, {**identity, **training.state()})
        _describe(run, about, training)
        on_epoch(result)
    if training.results:
        _describe(run, about, training)


def load_run(run: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network that a run kept, ready to evaluate, and what its `run.json` says.

    Raises
    ------
    InputError : no usable checkpoint there.
    """
    description = read_description(run)
    try:
        network = build_network(description["settings"]["arch"])
    except (KeyError, TypeError):
        raise InputError(f"run {run}: its run.json names no settings.arch") from None
    load_weights(network, run / CHECKPOINT_NAME)
    return network.eval(), description


class _Training:
    """What changes from step to step, and the steps."""

    def __init__(
        self,
        examples: Examples,
        validation: Examples,
        settings: TrainSettings,
        init: Path | None,
        state: Mapping[str, Any] | None,
    ) -> None:
        torch.set_num_threads(settings.n_threads)
        torch.manual_seed(settings.seed)
        self.device = device = _device(settings)
        self._examples, self._validation, self._settings = examples, validation, settings
        is_given = init is not None or state is not None
        wish = "random" if is_given else settings.encoder_weights
        network, self.initial_weights = initial_network(settings.arch, wish)
        if init is not None:
            load_weights(network, init)
            self.initial_weights = init.name
        # Channels last is twice as fast on a CPU.
        self._network = network.to(device, memory_format=torch.channels_last)
        self._averaged = averaged(self._network, settings.ema_decay)
        self._optimiser = make_optimiser(self._network, settings.optimiser)
        self._scaler = torch.amp.GradScaler(device.type, enabled=settings.amp == "float16")
        self.results: list[EpochResult] = []
        self.best: EpochResult | None = None
        if state is not None:
            self._restore(state)

    @property
    def kept(self) -> nn.Module:
        """The network that is validated and kept: of averaged weights where they are averaged."""
        return self._network if self._averaged is None else self._averaged.module

    def state(self) -> dict[str, Any]:
        """Everything that the next epoch depends on."""
        return {
            "network": self._network.state_dict(),
            "averaged": None if self._averaged is None else self._averaged.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "rows": [result.row() for result in self.results],
            "best_epoch": None if self.best is None else self.best.epoch,
            "initial_weights": self.initial_weights,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._network.load_state_dict(state["network"])
        if self._averaged is not None:
            self._averaged.load_state_dict(state["averaged"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._scaler.load_state_dict(state["scaler"])
        terms = list(self._settings.loss.weights())
        self.results = [EpochResult.from_row(row, terms) for row in state["rows"]]
        self.best = self.results[state["best_epoch"] - 1]
        self.initial_weights = state["initial_weights"]

    def epoch(self, number: int) -> EpochResult:
        """Every image once, then validation. Numbers start at 1."""
        settings, start_s = self._settings, time.perf_counter()
        seed = epoch_seed(settings.seed, number)
        torch.manual_seed(seed)  # for networks with dropout
        generator = torch.Generator(self.device).manual_seed(seed)
        weight = settings.simulated.weight
        order = epoch_order(self._examples.names, weight, settings.seed, number)
        starts = range(0, len(order), settings.batch_size)
        sums: defaultdict[str, float] = defaultdict(float)
        self._network.train()
        for k, start in enumerate(starts):
            rate = learning_rate(settings, (number - 1) * len(starts) + k, len(starts))
            for group in self._optimiser.param_groups:
                group["lr"] = rate
            batch = self._batch(order[start : start + settings.batch_size], generator)
            try:
                terms = self._step(*batch)
            except FloatingPointError as error:
                raise WorkError(
                    f"epoch {number}, step {k + 1} of {len(starts)}: {error}; stopped, the last "
                    "good checkpoint is kept (try a lower learning rate)"
                ) from None
            for name, value in terms.items():
                sums[name] += value / len(starts)
        try:
            validation_loss, f1 = validate(self.kept, self._validation, settings, self.device)
        except InferenceError as error:  # the last step spoilt the weights: no loss has seen them
            raise WorkError(
                f"epoch {number}, after step {len(starts)} of {len(starts)}: {error}; stopped, the "
                "last good checkpoint is kept (try a lower learning rate)"
            ) from None
        result = EpochResult(
            number, sum(sums.values()), dict(sums), validation_loss, f1, rate,
            time.perf_counter() - start_s,
        )  # fmt: skip
        self.results.append(result)
        if settings.keep == "last" or result.is_better_than(self.best):
            self.best = result
        return result

    def _batch(
        self, chosen: np.ndarray[Any, Any], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Images and targets, varied; the grey values are varied as grey / 255."""
        mean, std = self._settings.input.mean, self._settings.input.std
        images, targets = (
            torch.from_numpy(array[chosen]).to(self.device)
            for array in (self._examples.images, self._examples.targets)
        )
        varied, targets = augment(
            images * std + mean, targets, self._settings.augmentation, generator
        )
        return (varied - mean) / std, targets

    def _step(self, images: Tensor, targets: Tensor) -> dict[str, float]:
        """One step of the optimiser, and the loss's terms before it."""
        amp = self._settings.amp
        with torch.autocast(self.device.type, dtype=_AMP[amp], enabled=amp != "off"):
            logits = self._network(images.contiguous(memory_format=torch.channels_last))
        terms = loss_terms(logits.float(), targets, self._settings.loss.weights())
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()}")
        self._optimiser.zero_grad()
        self._scaler.scale(loss).backward()
        self._check_gradients()
        self._scaler.step(self._optimiser)
        self._scaler.update()
        if self._averaged is not None:
            self._averaged.update_parameters(self._network)
        return {name: term.item() for name, term in terms.items()}

    def _check_gradients(self) -> None:
        if self._scaler.is_enabled():  # leaves out steps with infinite gradients by itself
            if self._scaler.get_scale() < _SMALLEST_SCALE:
                raise FloatingPointError("the gradients overflow in float16 at every scale")
            return
        gradients = [p.grad for p in self._network.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"the gradients' norm is {norm.item()}")


def _device(settings: TrainSettings) -> torch.device:
    has_cuda = torch.cuda.is_available()
    if settings.device == "cuda" and not has_cuda:
        raise InputError("device is 'cuda', but torch finds no CUDA device here; expected cpu")
    use_cuda = has_cuda and settings.device != "cpu"
    if settings.amp == "float16" and not use_cuda:
        raise InputError("amp is 'float16' on a CPU, expected bfloat16 or off")
    if use_cuda:
        # The same curve for the same seed; a network that has no such way is told of in a warning.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    return torch.device("cuda" if use_cuda else "cpu")


def _checked_state(path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """A state to continue from, which must be of these settings and images."""
    state = read_state(path)
    there, here = (_flat(s["settings"]) for s in ({"settings": {}, **state}, identity))
    differing = [
        f"{name} is {there.get(name)!r} there, {here.get(name)!r} here"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
    if differing:
        raise InputError(f"{path}: a training of other settings: {'; '.join(differing)}")
    if state["examples"] != identity["examples"]:
        raise InputError(f"{path}: a training on other images or labels, expected the same")
    return state


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _examples_sha256(examples: Examples) -> str:
    """Of what is trained on: the images by name, their labels by value."""
    digest = hashlib.sha256("\n".join(examples.names).encode())
    digest.update(examples.lines.tobytes())
    return digest.hexdigest()


def _describe(run: Path, about: Mapping[str, Any], training: _Training) -> None:
    write_log(run, training.results)
    best = training.best
    write_description(
        run,
        {
            **about,
            "reached": training.results[-1].row(),
            "best": None if best is None else best.row(),
        },
    )
