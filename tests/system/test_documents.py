"""What the documents show runs as it stands there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from navapp.config import load_settings
from tracking.messages import ClientInfo, Command
from tracking.server import Server
from tracking.wire import Message, decode, encode_command

_DOCS = Path(__file__).resolve().parents[2] / "docs"


def _blocks(page: str, language: str) -> list[str]:
    text = (_DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_a_client_asks_plus_for_its_streams(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = (
        block for block in _blocks("examples/slicer.md", "python") if "import Client" in block
    )
    asked: list[object] = []
    with Server(port=0) as server:

        def answer(message: Message) -> None:
            records = decode(message)
            asked.extend(records)
            for record in records:
                if isinstance(record, Command):
                    reply = Command("", record.id, record.command, "<Ids/>", is_reply=True)
                    server.send(encode_command(reply))

        server.on_message = answer
        here = program.replace("plus-computer", "127.0.0.1").replace("18944", str(server.port))
        exec(compile(here, "slicer.md", "exec"), {})
    wishes, command = (r for r in asked if isinstance(r, (ClientInfo, Command)))
    assert wishes == ClientInfo(("TRACKEDFRAME",), ("ProbeToTracker",), (("Image", "Image"),))
    assert isinstance(command, Command)
    assert (command.id, command.command) == (1, "RequestChannelIds")
    assert "is_reply=True" in capsys.readouterr().out


@pytest.mark.parametrize("page", ["files.md", "examples/slicer.md", "examples/plus_server.md"])
def test_configurations_are_accepted(page: str, tmp_path: Path) -> None:
    """Those in the form of `--config`: others hold a calibration, a plan or landmarks."""
    n_settings = 0
    for block in _blocks(page, "toml"):
        if {"probe", "plan", "landmark"} & tomllib.loads(block).keys():
            continue
        path = tmp_path / "session.toml"
        path.write_text(block, encoding="utf-8")
        load_settings(path, {})
        n_settings += 1
    assert n_settings > 0
