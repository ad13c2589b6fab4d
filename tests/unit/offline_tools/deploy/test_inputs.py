"""JSON files given to `export`, right and wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.contract import LineSpec
from offline_tools.deploy.inputs import read_line
from offline_tools.errors import InputError


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "given.json"
    path.write_text(text)
    return path


def test_a_line_is_its_differences_from_the_default(tmp_path: Path) -> None:
    path = write(tmp_path, '{"scan_lines": "polar", "apex_mm": [0, -40], "weak": 0.3}')
    assert read_line(path) == LineSpec(scan_lines="polar", apex_mm=(0, -40), weak=0.3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"choice": "last"}', r"given\.json: line\.choice is 'last'"),
        ('{"colour": 1}', r"given\.json: .*colour"),
        ("[1]", r"given\.json: holds list, expected a JSON object"),
        ("{", r"given\.json: not JSON"),
    ],
)
def test_a_wrong_line_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_line(write(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: cannot be read \(No such file"):
        read_line(tmp_path / "none.json")
