"""A small file is there whole, or as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracking.whole_files import write_whole


def test_text_and_bytes_in_a_folder_that_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.toml"
    write_whole(path, "x = '\u00b5'\n")
    assert path.read_bytes() == b"x = '\xc2\xb5'\n"
    write_whole(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert [p.name for p in path.parent.iterdir()] == ["b.toml"]


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b.toml"
    write_whole(path, "old")

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(path, "new")
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["b.toml"]
