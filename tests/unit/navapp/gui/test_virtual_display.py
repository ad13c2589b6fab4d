from __future__ import annotations

import pytest

from navapp.gui import virtual_display as module
from navapp.gui.virtual_display import DisplayError, has_display, virtual_display


def test_no_display_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not has_display()


def test_a_display_that_does_not_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":64999")
    assert not has_display()


def test_without_xvfb_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(DisplayError, match=r"apt-get install xvfb.*--headless"), virtual_display():
        pytest.fail("there is no display")


def test_an_xvfb_that_ends_at_once_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    start = module.subprocess.Popen
    monkeypatch.setattr(module.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(
        module.subprocess, "Popen", lambda command, **kwargs: start(["false"], **kwargs)
    )
    with pytest.raises(DisplayError, match="Xvfb did not start"), virtual_display():
        pytest.fail("there is no display")
