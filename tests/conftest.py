"""Fixtures for every test: the shared recordings, and a guard against left-over threads."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

with contextlib.suppress(ImportError):
    # Torch's exporter shows progress with it where it is installed; its monitor is a thread that
    # ends with the process.
    import tqdm

    tqdm.tqdm.monitor_interval = 0

_REPOSITORY = Path(__file__).resolve().parents[1]
_EXIT_STATUS = pytest.StashKey[int]()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real recordings; tests that ask for it are skipped where it is absent."""
    folder = Path(os.environ.get("NAVAPP_SHARED_DATA") or _REPOSITORY.parent / "shared" / "data")
    if not (folder / "ultrabones").is_dir():
        pytest.skip(f"no recordings at {folder} (set NAVAPP_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def record01(shared_data: Path) -> Path:
    return shared_data / "ultrabones/AI_Ultrasound_dataset/cadaver01_fibula/record01"


@pytest.fixture(scope="session")
def record02(record01: Path) -> Path:
    return record01.with_name("record02")


@pytest.fixture(autouse=True)
def no_left_over_threads() -> Iterator[None]:
    """A test that leaves a thread behind fails: every thread of ours has an owner who joins it."""
    before = set(threading.enumerate())
    yield
    left = [t for t in threading.enumerate() if t not in before and t.is_alive()]
    for thread in left:
        thread.join(2.0)
    names = [t.name for t in left if t.is_alive()]
    if names:
        pytest.fail(f"threads left behind: {', '.join(names)}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_EXIT_STATUS] = int(exitstatus)


def pytest_unconfigure(config: pytest.Config) -> None:
    """What a failed test left running keeps nobody waiting: all has been told by now."""
    others = set(threading.enumerate()) - {threading.main_thread()}
    if any(not thread.daemon for thread in others):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash.get(_EXIT_STATUS, 1))
