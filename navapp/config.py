"""Typed configuration: one TOML file, every problem reported at once.

Components receive their own section. Files that a session measures with (calibration, model,
registration, CT) are named here and are data, not configuration.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from navapp.errors import ConfigError

# Strict: a number in quotation marks is a text, and an error that names the type.
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False, strict=True)]
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False, strict=True)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ServerSettings(_Section):
    """Where the images and poses come from."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535, strict=True)] = 18944
    connect_timeout_s: Positive = 10.0
    """Without a window, a session ends when no server answers for this long."""
    silence_timeout_s: NonNegative = 2.0
    """A server that has sent nothing for so long is dead and connected to anew. 0: never, for
    servers that send on change only."""
    reconnect: bool = True
    """False where a person at the server must approve each connection."""
    tracking_period_ms: Annotated[int, Field(ge=1)] | None = None
    """Ask for TDATA this often; some trackers send poses only when asked."""
    filter_image_stamps: bool = False
    """Take the jitter out of a frame grabber's stamps, by the FrameNumber that PlusServer sends."""


class StreamSettings(_Section):
    """Names on the wire. Tools (Probe) or whole IGSIO names (ProbeToTracker)."""

    image: str | None = None
    """None: the only image stream that the server sends; two or more need a name here."""
    probe: str = "Probe"
    reference: str = "Reference"
    wait_s: Positive = 5.0
    """How long a server that sends something may take to send the streams named here."""


class MatchingSettings(_Section):
    """Which pose belongs to an image: the one at `t_sender_s - image_lag_s`."""

    image_lag_s: Annotated[float, Field(ge=-2.0, le=2.0)] | None = None
    """> 0: images are stamped later than the moment they show. None: the calibration's, else 0."""
    max_pose_gap_s: Positive = 0.1
    """Poses further apart are not interpolated. A hand moves about 1 mm per 10 ms."""
    max_pose_wait_s: NonNegative = 0.2
    """How long a segmented image waits for a pose that comes after it on the wire."""
    max_age_s: Positive = 1.0
    """An image that waited longer than this since its arrival is dropped as stale."""


class ModelSettings(_Section):
    """The network; its own contract says everything else."""

    path: Path | None = None
    """None: the network that ships with the program."""
    provider: Literal["auto", "tensorrt", "cuda", "cpu"] = "auto"
    """auto: the first of TensorRT, CUDA and CPU that can be had."""


class InferenceSettings(_Section):
    """What of the bone line goes into the cloud."""

    line_support: bool = True
    """Leave out what the lines of the half second before do not bear out; it stays in the image."""


class GeometrySettings(_Section):
    """Files that put a pixel at its place, and the cloud's resolution."""

    calibration: Path | None = None
    registration: Path | None = None
    ct: tuple[Path, ...] = ()
    roi_px: tuple[int, int, int, int] | None = None
    """Part of the image that is ultrasound: column, row, width, height. None: the calibration's."""
    voxel_size_mm: Positive = 0.5


class VolumeSettings(_Section):
    """The images themselves as a volume, `volume.mha` beside the cloud."""

    live: bool = False
    """True: images are compounded while they come."""
    spacing_mm: Positive = 0.5
    interpolation: Literal["nearest", "linear"] = "nearest"
    compounding: Literal["latest", "maximum", "mean"] = "mean"
    fill_holes: bool = False


class ResultSettings(_Section):
    """Where others can fetch the bone line, its points and the probe's pose."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, strict=True)] | None = None
    """None: results do not go out. 0: the system chooses a port, the log tells which."""


class WindowSettings(_Section):
    """How the window looks and what its keys do."""

    keys: dict[str, str] = {}
    """Another key for an action: record = "F5". F1 in the window shows the actions' names."""
    is_full_screen: bool = False
    overlay_percent: Annotated[int, Field(ge=10, le=100)] = 100
    """Opacity of the bone line and the CT outline over the image."""
    has_sound: bool = True
    """A sound when tracking or image are lost, and one when they return."""


class Settings(_Section):
    """Everything a session is told."""

    server: ServerSettings = ServerSettings()
    more_servers: tuple[ServerSettings, ...] = ()
    """Further servers: the tracker's, where the images come from a scanner's own."""
    streams: StreamSettings = StreamSettings()
    matching: MatchingSettings = MatchingSettings()
    model: ModelSettings = ModelSettings()
    inference: InferenceSettings = InferenceSettings()
    geometry: GeometrySettings = GeometrySettings()
    volume: VolumeSettings = VolumeSettings()
    results: ResultSettings = ResultSettings()
    window: WindowSettings = WindowSettings()


def load_settings(
    path: Path | None, overrides: Mapping[str, dict[str, Any] | list[Any]]
) -> Settings:
    """Settings from a TOML file (None: all defaults), with what the command line says on top.

    `overrides` holds values by section and name, None values are ignored; a list that is not empty
    takes the place of the file's.

    Raises
    ------
    ConfigError : one line with every unknown key, wrong type and value out of range.
    """
    tree: dict[str, Any] = {} if path is None else _read(path)
    for section, values in overrides.items():
        if isinstance(values, list):
            if values:
                tree[section] = values
            continue
        given = {name: value for name, value in values.items() if value is not None}
        in_file = tree.get(section, {})
        if given and isinstance(in_file, dict):  # what is no section is an error of its own
            tree[section] = {**in_file, **given}
    return _validated(tree, f"{path} with the command line" if path else "command line")


def changed_settings(settings: Settings, changes: Mapping[str, dict[str, Any]]) -> Settings:
    """Settings that differ in some values, by section and name; None is the default again.

    Raises
    ------
    ConfigError : one line with every wrong type and value out of range.
    """
    tree = settings.model_dump(mode="json", exclude_none=True)
    for section, values in changes.items():
        kept = {name: value for name, value in tree[section].items() if name not in values}
        given = {name: value for name, value in values.items() if value is not None}
        tree[section] = {**kept, **given}
    return _validated(tree, "these settings")


def _validated(tree: dict[str, Any], where: str) -> Settings:
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        problems = "; ".join(_describe(problem) for problem in error.errors())
        raise ConfigError(f"{where}: {problems}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None


def _describe(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{name} is not a setting"
    expected = problem["msg"].lower().replace("valid tuple", "list")  # TOML knows no tuple
    return f"{name} = {problem['input']!r}: {expected}"
