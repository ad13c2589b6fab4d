"""PySide6 6.12.0 loses a reference to True or None with each call and ends the process later.

A short run of the window passes there, so the references themselves are counted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
from PySide6.QtCore import QCoreApplication, QObject, Signal

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="True and None are immortal since Python 3.12"
)

_CALLS = 100
# Other code holds and frees a few while the test runs; the defect loses one with each call.
_TOLERANCE = 10


class _Sender(QObject):
    sent = Signal()


@pytest.fixture
def qt_core() -> Iterator[QCoreApplication]:
    existing = QCoreApplication.instance()
    app = existing or QCoreApplication([])
    yield app
    if existing is None:
        app.shutdown()


def _lost_references(constant: object, call: Callable[[], object]) -> int:
    call()
    before = sys.getrefcount(constant)
    for _ in range(_CALLS):
        call()
    return before - sys.getrefcount(constant)


@pytest.mark.parametrize("constant", [True, None])
def test_emitting_keeps_the_references(qt_core: QCoreApplication, constant: object) -> None:
    sender = _Sender()
    heard: list[int] = []
    sender.sent.connect(lambda: heard.append(1))

    assert abs(_lost_references(constant, sender.sent.emit)) < _TOLERANCE
    assert len(heard) == _CALLS + 1


@pytest.mark.parametrize("constant", [True, None])
def test_processing_events_keeps_the_references(
    qt_core: QCoreApplication, constant: object
) -> None:
    assert abs(_lost_references(constant, qt_core.processEvents)) < _TOLERANCE
