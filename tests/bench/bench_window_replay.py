"""A long replay with the window open: memory, work per tick, latency and references over time.

    python tests/bench/bench_window_replay.py [--seconds S] [--sweep DIR] [--json]

A sweep (simulated unless one is named) is served over TCP by this program, in a loop, received,
segmented and shown in the window that a person would use. The first fifth is compared with the
last. A display is made with Xvfb where there is none.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from PySide6.QtTest import QTest

from navapp.config import Settings
from navapp.desk.desk import Desk
from navapp.desk.starter import Started, Starter
from navapp.gui.app import application, close_window, open_window
from navapp.gui.bridge import Bridge
from navapp.gui.virtual_display import has_display, virtual_display
from navapp.session import Session

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file, as `make bench` does
from tests.bench.bench_gui import resident_mb
from tests.support.screens import running

_SETTLING_S = 5.0
_GOALS = {"memory_slope_mb_per_min": 1.0, "tick_p95_last_to_first": 1.2}


@contextmanager
def _window_on(sweep: Path | None, folder: Path) -> Iterator[tuple[Desk, Bridge]]:
    """A window that shows a replay in a loop."""
    application()
    if sweep is None:
        with running(folder, loop=True) as (desk, _, bridge):
            yield desk, bridge
        return
    starter = Starter(folder)
    starter.replay(Settings(), sweep)
    while (started := starter.poll()) is None:
        time.sleep(0.05)
    if not isinstance(started, Started) or started.replay is None:
        raise SystemExit(f"{sweep}: {started}")
    started.replay.replay.set_loop(True)
    desk = Desk(started.session, started.folder, replay=started.replay)
    window, bridge = open_window(desk, title="bench")
    started.session.start()
    try:
        yield desk, bridge
    finally:
        close_window(window)
        started.session.stop()
        desk.close()


def replay_for(seconds: float, sweep: Path | None = None) -> dict[str, float]:
    """Run, and compare the first fifth with the last."""
    with tempfile.TemporaryDirectory() as folder, _window_on(sweep, Path(folder)) as (desk, bridge):
        _run_events(_SETTLING_S)
        bridge.work_s = deque()
        samples: list[tuple[float, ...]] = []
        begin_s = time.perf_counter()
        while (now_s := time.perf_counter() - begin_s) < seconds:
            p95_ms = desk.session.status().end_to_end_p95_ms
            samples.append((now_s / 60.0, resident_mb(), p95_ms, *_references()))
            _run_events(2.0)
        status = desk.session.status()
        if isinstance(desk.session, Session) and desk.session.failure is not None:
            raise SystemExit(f"the session failed: {desk.session.failure}")
    fifths = np.array_split(np.array(bridge.work_s) * 1e3, 5)
    first_ms, last_ms = (float(np.percentile(fifths[k], 95)) for k in (0, 4))
    rows = np.array(samples)
    minutes = rows[:, 0]
    settled = rows[len(rows) // 5 :]
    slopes = [float(np.polyfit(settled[:, 0], column, 1)[0]) for column in settled[:, 1:].T]
    ends_ms = [float(np.nanmedian(part[:, 2])) for part in np.array_split(rows, 5)]
    return {
        "seconds": float(minutes[-1] * 60.0),
        "images": float(status.n_received),
        "processed": float(status.n_processed),
        "points": float(status.n_points),
        "memory_slope_mb_per_min": slopes[0],
        "memory_at_end_mb": float(rows[-1, 1]),
        "tick_p95_first_fifth_ms": first_ms,
        "tick_p95_last_fifth_ms": last_ms,
        "tick_p95_last_to_first": last_ms / first_ms,
        "end_to_end_p95_first_fifth_ms": ends_ms[0],
        "end_to_end_p95_last_fifth_ms": ends_ms[4],
        "references_to_none_per_min": slopes[2],
        "references_to_true_per_min": slopes[3],
        "objects_per_min": slopes[4],
    }


def _references() -> tuple[int, int, int]:
    """To None, to True, and how many objects the collector watches."""
    gc.collect()
    return sys.getrefcount(None), sys.getrefcount(True), len(gc.get_objects())


def _run_events(seconds: float) -> None:
    end_s = time.perf_counter() + seconds
    while (left_s := end_s - time.perf_counter()) > 0.0:
        QTest.qWait(max(1, int(min(left_s, 0.1) * 1e3)))


def main() -> None:
    """Measure, print a table, and with --json a line of JSON."""
    parser = argparse.ArgumentParser(description="A long replay with the window open.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--sweep", type=Path, help="a recorded sweep; default: a simulated one")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON as well")
    arguments = parser.parse_args()
    with nullcontext() if has_display() else virtual_display():
        figures = replay_for(arguments.seconds, arguments.sweep)
        application().shutdown()
    for name, value in figures.items():
        goal = f"  goal {_GOALS[name]:g}" if name in _GOALS else ""
        print(f"{name:32} {value:12,.3f}{goal}")
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
