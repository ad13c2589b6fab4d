"""What the window costs: GUI work per tick, and from start to window.

    python tests/bench/bench_gui.py [--seconds S] [--points N] [--json]

Work per tick is the CPU time of the GUI thread for one round of the bridge, with uploads and the
paint of the live image and without the drawing of the 3D scene, while 950x811 images come at
60 Hz into a cloud of a million points. A display is made with Xvfb where there is none.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PySide6.QtTest import QTest

from inference.postprocess import BoneLine
from navapp.desk.desk import Desk
from navapp.desk.session_folder import SessionFolder
from navapp.gui.app import application, close_window, open_window
from navapp.gui.bridge import Bridge
from navapp.gui.main_window import MainWindow
from navapp.gui.virtual_display import has_display, virtual_display
from navapp.state import DrawnCloud, LiveView, SessionStatus
from tracking.messages import ImageFrame, Stamps

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file, as `make bench` does
from tests.support.desks import RUNNING, MadeUpSession

_ROWS, _COLUMNS = 811, 950
_SPACING_MM = 0.054
_NEW_POINTS = 500  # of a frame, after the voxel grid
_SETTLING_S = 3.0
_GOAL_TICK_P95_MS = 8.0
_GOAL_START_S = 3.0


class _Stream(MadeUpSession):
    """A session with a new frame at every tick; it is its own source of views."""

    def __init__(self, n_points: int, seconds: float) -> None:
        super().__init__()
        self.views = self  # type: ignore[assignment]
        self.spacing_mm = (_SPACING_MM, _SPACING_MM)
        self.n_shown = 0
        self._n_frames = 0
        self._first = n_points
        self._cloud_mm = _cloud(n_points + int(100 * seconds) * _NEW_POINTS)
        shape = (8, _ROWS, _COLUMNS)
        self._images = np.random.default_rng(0).integers(0, 235, shape, dtype=np.uint8)
        self._images.setflags(write=False)
        self._A_target_pixel = np.diag((_SPACING_MM, _SPACING_MM, 1.0, 1.0))
        u = np.arange(100.0, 800.0)
        points_px = np.column_stack((u, 400 + 100 * np.sin(u / 90)))
        self._line = BoneLine(points_px, *2 * [np.ones(u.size, dtype=np.float32)])

    def take(self, timeout_s: float | None = None) -> LiveView:
        now_s = time.perf_counter()
        self._n_frames += 1
        pixels = self._images[self._n_frames % len(self._images)]
        frame = ImageFrame("Image", pixels, Stamps(0.0, now_s), now_s)
        n = self._first + self._n_frames * _NEW_POINTS
        cloud = DrawnCloud(self._cloud_mm[:n])
        return LiveView(frame, self._line, self._A_target_pixel, None, cloud, now_s)

    def status(self) -> SessionStatus:
        return replace(
            RUNNING,
            image_rate_hz=60.0 + self._n_frames % 7,
            infer_p50_ms=5.0 + self._n_frames % 3,
            end_to_end_p95_ms=40.0 + self._n_frames % 5,
            n_received=self._n_frames,
            n_processed=self._n_frames,
            n_points=self._first + self._n_frames * _NEW_POINTS,
        )

    def note_shown(self, view: LiveView, t_shown_s: float) -> None:
        self.n_shown += 1


@contextmanager
def _window_on(stream: _Stream) -> Iterator[tuple[MainWindow, Bridge]]:
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(stream, SessionFolder(Path(folder) / "session"))
        window, bridge = open_window(desk, title="bench")
        try:
            yield window, bridge
        finally:
            close_window(window)
            desk.close()


def tick_work(n_points: int, seconds: float) -> dict[str, float]:
    """Percentiles of the bridge's work, ms, over `seconds` of a running window."""
    application()
    stream = _Stream(n_points, seconds + _SETTLING_S)
    with _window_on(stream) as (window, bridge):
        _run_events(_SETTLING_S)  # the first upload, and the draw budget settles
        bridge.work_s.clear()
        n_shown = stream.n_shown
        _run_events(seconds)
        work_ms = np.array(bridge.work_s) * 1e3
        return {
            "n_ticks": float(len(work_ms)),
            "tick_p50_ms": float(np.percentile(work_ms, 50)),
            "tick_p95_ms": float(np.percentile(work_ms, 95)),
            "goal_tick_p95_ms": _GOAL_TICK_P95_MS,
            "shown_hz": (stream.n_shown - n_shown) / seconds,
            "points": float(window.scene_view.cloud.n_points),
            "stride": float(window.scene_view.budget.stride),
        }


def start_to_window() -> dict[str, float]:
    """From a fresh process to the window over a session that is warmed up: the second of two."""
    code = (
        "import pathlib, tempfile\n"
        "from tests.support.screens import running\n"
        "from navapp.gui.app import application\n"
        "app = application()\n"
        "with tempfile.TemporaryDirectory() as t, running(pathlib.Path(t)):\n"
        "    app.processEvents()\n"
        "    print('open', flush=True)\n"
    )
    taken_s = 0.0
    for _ in range(2):
        begin_s = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=Path(__file__).resolve().parents[2],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            if process.stdout is None or process.stdout.readline() != "open\n":
                raise RuntimeError("the window did not open")
            taken_s = time.perf_counter() - begin_s
    return {"start_to_window_s": taken_s, "goal_start_to_window_s": _GOAL_START_S}


def resident_mb() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def _cloud(n_points: int) -> NDArray[np.float32]:
    cloud_mm = np.random.default_rng(0).normal(0.0, 30.0, (n_points, 3)).astype(np.float32)
    cloud_mm.setflags(write=False)
    return cloud_mm


def _run_events(seconds: float) -> None:
    end_s = time.perf_counter() + seconds
    while (left_s := end_s - time.perf_counter()) > 0.0:
        QTest.qWait(max(1, int(min(left_s, 0.1) * 1e3)))


def main() -> None:
    """Measure, print a table, and with --json a line of JSON."""
    parser = argparse.ArgumentParser(description="What the window costs.")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the running window")
    parser.add_argument("--points", type=int, default=1_000_000, help="in the cloud at the start")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON as well")
    arguments = parser.parse_args()
    with nullcontext() if has_display() else virtual_display():
        figures = tick_work(arguments.points, arguments.seconds)
        figures |= start_to_window()
        application().shutdown()
    for name, value in figures.items():
        print(f"{name:24} {value:12,.3f}")
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
