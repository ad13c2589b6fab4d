"""Pictures of every screen of the window, from a simulated session.

    python -m tests.support.screens docs/screens

A display is made with Xvfb where there is none.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, nullcontext
from pathlib import Path

import numpy as np
from PySide6.QtTest import QTest

from navapp.config import ServerSettings, Settings, VolumeSettings
from navapp.demo import for_simulation, write_simulation
from navapp.desk.desk import Desk
from navapp.desk.navigation import Plan
from navapp.desk.replay_server import ReplayServer
from navapp.desk.session_folder import SessionFolder
from navapp.equipment import load_equipment
from navapp.feeds import LiveFeed
from navapp.gui.app import application, close_window, open_window
from navapp.gui.bridge import Bridge
from navapp.gui.main_window import MainWindow
from navapp.gui.virtual_display import has_display, virtual_display
from navapp.log_setup import configure_logging
from navapp.session import Session, SessionMode
from recon.simulator import SimulatedSweep
from tracking.faults import Faults
from tracking.sequences.sweep import Sweep
from tracking.transforms import Matrix


@contextmanager
def running(
    folder: Path,
    *,
    faults: Faults | None = None,
    is_registered: bool = True,
    beep: Callable[[str], None] = lambda what: None,
    loop: bool = False,
    is_ours: bool = True,
    has_volume: bool = False,
    sweep: Sweep | None = None,
    T_stylus_tip: Matrix | None = None,
) -> Iterator[tuple[Desk, MainWindow, Bridge]]:
    """A window on a session that receives a simulated sweep over a real socket.

    Parameters
    ----------
    is_ours : whether the window steers the replay; else it is to it as a scanner
    has_volume : whether the session builds a volume
    sweep : adds to the simulated one what else is to be received
    """
    simulated = SimulatedSweep()
    simulated.render(0)
    settings = for_simulation(Settings(), *write_simulation(simulated, folder / "simulation"))
    if not is_registered:
        geometry = settings.geometry.model_copy(update={"registration": None})
        settings = settings.model_copy(update={"geometry": geometry})
    volume = VolumeSettings(live=has_volume)
    settings = settings.model_copy(update={"volume": volume})
    replay = ReplayServer(sweep or simulated, faults=faults, loop=loop)
    feed = LiveFeed(ServerSettings(port=replay.port), until_closed=False, gives_up=False)
    mode = SessionMode(is_live=True, has_window=True)
    session = Session(settings, load_equipment(settings), feed, mode)
    session.warm_up()
    desk = Desk(
        session,
        SessionFolder(folder / "session"),
        replay=replay if is_ours else None,
        T_stylus_tip=T_stylus_tip,
    )
    window, bridge = open_window(desk, title="navapp", beep=beep)
    session.start()
    try:
        yield desk, window, bridge
    finally:
        close_window(window)
        if isinstance(desk.session, Session):
            desk.session.stop()
        session.stop()
        desk.close()
        replay.close()


def wait_until(is_true: Callable[[], bool], timeout_s: float = 15.0) -> bool:
    """Let the window run until something is so; False where it never was."""
    for _ in range(int(timeout_s / 0.05)):
        if is_true():
            return True
        QTest.qWait(50)
    return is_true()


def _scan(out: Path, folder: Path) -> None:
    with running(folder / "scan") as (desk, window, bridge):
        QTest.qWait(1400)
        _press(window, "record", "prepare")
        QTest.qWait(400)
        _grab(window, out / "prepare.png")
        _press(window, "scan", "colours")
        QTest.qWait(1000)
        _press(window, "freeze")
        _grab(window, out / "frozen.png")
        _press(window, "freeze", "mark")
        QTest.qWait(1000)
        _grab(window, out / "scan.png")
        window.status_row.clicked.emit("PROBE")
        QTest.qWait(300)
        bridge.plots["PROBE"].grab().save(str(out / "chip.png"))
        bridge.plots["PROBE"].close()
        window.replay_bar.timeline.sought.emit(5.0)
        surface = desk.session.surface
        if surface is not None:
            middle = surface.vertices_mm.mean(axis=0)
            desk.plan = Plan(
                "Screw 1", middle + np.array((0.0, 8.0, 0.0)), middle - np.array((0.0, 30.0, 0.0))
            )
            window.scene_view.show_plan(desk.plan)
        _press(window, "colours", "follow")
        QTest.qWait(800)
        _grab(window, out / "navigation.png")
        _press(window, "no_plan", "follow", "fit", "record", "review")
        QTest.qWait(1200)
        _grab(window, out / "review.png")
        _press(window, "scan", "settings", "log")
        QTest.qWait(500)
        _grab(window, out / "settings.png")
        _press(window, "settings", "log", "keys")
        sheets = [w for w in window.children() if type(w).__name__ == "KeySheet"]
        sheets[0].grab().save(str(out / "keys.png"))
        sheets[0].close()


def _alarm(out: Path, folder: Path) -> None:
    faults = Faults(occlusion_s=2.0, occlusion_every_s=4.0)
    with running(folder / "alarm", faults=faults) as (_, window, _):
        wait_until(lambda: "LOST" in window.image_view.banner)
        QTest.qWait(300)
        _grab(window, out / "alarm.png")


def _register(out: Path, folder: Path) -> None:
    with running(folder / "register", is_registered=False) as (desk, window, _):
        QTest.qWait(3000)
        _press(window, "register")
        equipment = desk.session.equipment
        if equipment is None or equipment.surface is None:
            raise RuntimeError("the simulation has a surface")
        sweep = SimulatedSweep()
        vertices = equipment.surface.vertices_mm
        chosen = vertices[np.linspace(0, len(vertices) - 1, 6).astype(int)[1:5]]
        T_reference_ct = np.linalg.inv(sweep.T_ct_reference)
        for k, place in enumerate(chosen):
            desk.registering.add(f"landmark {k + 1}", place)
            found = (T_reference_ct @ (*place, 1.0))[:3] + np.array((0.4 * (-1) ** k, 0.3, 0.0))
            desk.registering.find(k, found)
        _press(window, "fit_landmarks", "refine")
        wait_until(lambda: desk.registering.refined is not None)
        QTest.qWait(600)
        _grab(window, out / "register.png")


def _press(window: MainWindow, *names: str) -> None:
    for name in names:
        window.book[name].trigger()
        QTest.qWait(300)


def _grab(window: MainWindow, path: Path) -> None:
    window.scene_view.refresh(float("inf"))
    QTest.qWait(50)
    window.grab().toImage().save(str(path))


def main() -> None:
    """Make them all."""
    out = Path(sys.argv[1]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    with nullcontext() if has_display() else virtual_display(), tempfile.TemporaryDirectory() as t:
        application()
        configure_logging(is_verbose=False)
        with chdir(t):  # the paths in the window are those from here
            for make in (_scan, _alarm, _register):
                make(out, Path())
        application().shutdown()


if __name__ == "__main__":
    main()
