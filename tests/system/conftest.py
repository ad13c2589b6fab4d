"""A QApplication for the tests of the window, on a display of its own where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication


@pytest.fixture(scope="module")
def qapp() -> Iterator[QApplication]:
    from navapp.gui.app import application
    from navapp.gui.virtual_display import has_display, virtual_display

    if not has_display() and shutil.which("Xvfb") is None:
        pytest.skip("no display and no Xvfb (apt-get install xvfb)")
    with nullcontext() if has_display() else virtual_display():
        app = application()
        yield app
        app.shutdown()
