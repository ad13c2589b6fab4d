"""Configuration: every problem at once, nothing corrected, units in every name."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from navapp.config import Settings, changed_settings, load_settings
from navapp.errors import ConfigError

_UNIT_SUFFIXES = ("_s", "_mm", "_hz", "_rad", "_px", "_ms", "_deg")


def test_defaults_need_no_file() -> None:
    settings = load_settings(None, {})
    assert settings.server.port == 18944
    assert settings.geometry.voxel_size_mm == 0.5


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "session.toml"
    path.write_text('[server]\nhost = "scanner"\nport = 18945\n[matching]\nimage_lag_s = 0.05\n')
    settings = load_settings(path, {"server": {"port": 20000, "host": None}})
    assert (settings.server.host, settings.server.port) == ("scanner", 20000)
    assert settings.matching.image_lag_s == 0.05


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "session.toml"
    path.write_text(
        "[server]\nport = 70000\n[matching]\nmax_pose_gap_s = -1\nlag = 3\n[geometry]\nct = 5\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {})
    message = str(caught.value)
    for part in (
        "session.toml",
        "server.port = 70000",
        "65535",
        "matching.max_pose_gap_s = -1",
        "matching.lag is not a setting",
        "geometry.ct = 5",
    ):
        assert part in message
    assert "\n" not in message


def test_a_wrong_type_is_named_with_the_right_one(tmp_path: Path) -> None:
    path = tmp_path / "session.toml"
    path.write_text(
        '[server]\nport = "18944"\nsilence_timeout_s = "2"\n[results]\nport = "1"\n'
        '[geometry]\nct = "bone.stl"\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {})
    message = str(caught.value)
    assert "server.port = '18944': input should be a valid integer" in message
    assert "server.silence_timeout_s = '2': input should be a valid number" in message
    assert "results.port = '1': input should be a valid integer" in message
    assert "geometry.ct = 'bone.stl': input should be a list" in message


@pytest.mark.parametrize("content", [b"[server", b"\xff\xfe"])
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "session.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"session.toml: not TOML"):
        load_settings(path, {})


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read"):
        load_settings(tmp_path / "none.toml", {})


def test_every_float_has_a_unit_in_its_name() -> None:
    def floats(model: type[BaseModel], path: str = "") -> list[str]:
        names = []
        for name, field in model.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                names += floats(kind, f"{path}{name}.")
            elif "float" in str(kind):
                names.append(f"{path}{name}")
        return names

    found = floats(Settings)
    assert "matching.image_lag_s" in found
    assert [name for name in found if not name.endswith(_UNIT_SUFFIXES)] == []


def test_what_is_not_changed_stays_and_nothing_is_the_default_again() -> None:
    settings = load_settings(
        None, {"server": {"port": 20000}, "matching": {"image_lag_s": 0.05}, "volume": {}}
    )
    changed = changed_settings(
        settings, {"server": {"host": "scanner", "port": None}, "volume": {"live": True}}
    )
    assert (changed.server.host, changed.server.port) == ("scanner", 18944)
    assert (changed.matching.image_lag_s, changed.volume.live) == (0.05, True)
    with pytest.raises(ConfigError, match=r"these settings: server.port = 0"):
        changed_settings(settings, {"server": {"port": 0}})


def test_every_section_says_what_its_settings_mean() -> None:
    described = Settings.model_fields["geometry"].annotation.model_fields["roi_px"]  # type: ignore[union-attr]
    assert described.description is not None
    assert described.description.startswith("Part of the image that is ultrasound")
