"""Both ends of a real socket in one call: a sweep is served, received, segmented, reconstructed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tomli_w

from navapp.config import Settings
from recon.mesh_io import write_mesh
from recon.simulator import SimulatedSweep
from tracking.replay import Replay
from tracking.sequences import Sweep
from tracking.server import Server

_JOIN_S = 5.0


@contextmanager
def serve(sweep: Sweep, speed: float | None) -> Iterator[int]:
    """Replay a sweep on a free port of this computer; yields the port.

    The replay waits for a client, and closes the server when the sweep has ended, which is how
    the client learns that there is nothing more to come. An error of the replay is raised when
    the session has ended.
    """
    stop = threading.Event()
    errors: list[Exception] = []
    with Server(port=0) as server:
        replay = Replay(sweep, server, speed=speed)

        def run() -> None:
            try:
                replay.run(stop)
            except Exception as error:  # noqa: BLE001  the top of a worker
                errors.append(error)
            finally:
                server.close()

        thread = threading.Thread(target=run, name="replay")
        thread.start()
        try:
            yield server.port
        finally:
            stop.set()
            thread.join(_JOIN_S)
    if errors:
        raise errors[0]


def write_simulation(sweep: SimulatedSweep, folder: Path) -> tuple[Path, Path]:
    """What a session needs to know of a simulated sweep, as files: calibration and CT surface.

    The calibration file also holds the image lag and the registration of the reference to CT.
    """
    folder.mkdir(parents=True, exist_ok=True)
    calibration, surface = folder / "calibration.toml", folder / "bone.ply"
    content = {
        "probe": {
            "A_probe_pixel": sweep.A_probe_pixel.tolist(),
            "image_size_px": list(sweep.settings.image_size_px),
        },
        "temporal": {"image_lag_s": sweep.image_lag_s},
        "registration": {"T_ct_reference": sweep.T_ct_reference.tolist()},
        "provenance": {"method": "simulated, exact"},
    }
    calibration.write_text(tomli_w.dumps(content), encoding="utf-8")
    write_mesh(surface, sweep.mesh)
    return calibration, surface


def for_simulation(settings: Settings, calibration: Path, surface: Path) -> Settings:
    """Settings with the simulation's files where the user named none."""
    geometry = settings.geometry
    return settings.model_copy(
        update={
            "geometry": geometry.model_copy(
                update={
                    "calibration": geometry.calibration or calibration,
                    "registration": geometry.registration or calibration,
                    "ct": geometry.ct or (surface,),
                }
            )
        }
    )
