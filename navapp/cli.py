"""Commands: parse arguments, call, print. The one door where expected errors become one line."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.exceptions import TyperException

from navapp.calibrate import cli as calibrate_cli

if TYPE_CHECKING:
    from navapp.config import Settings
    from navapp.equipment import Equipment
    from navapp.feeds import Feed
    from navapp.live import WindowPlan
    from navapp.recorder import Recorder
    from navapp.session import Session
    from tracking.faults import Faults

# Start-up counts from here: what came before is the interpreter's own.
_STARTED_S = time.perf_counter()

_DONE, _FAILED, _WRONG_INPUT, _INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    help="Real-time navigation for tracked ultrasound. Research software, not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ModelOption = Annotated[
    Path | None, typer.Option("--model", help="Network (.onnx); default: the one that ships.")
]
ProviderOption = Annotated[
    str | None,
    typer.Option("--provider", help="auto, tensorrt, cuda or cpu; default: auto, the fastest."),
]
CtOption = Annotated[
    list[Path] | None, typer.Option("--ct", help="CT surface (STL, PLY, OBJ); may repeat.")
]
CalibrationOption = Annotated[
    Path | None,
    typer.Option("--calibration", help="Our .toml, a PLUS .xml or an UltraBones100k .json."),
]
RegistrationOption = Annotated[
    Path | None, typer.Option("--registration", help="TOML with T_ct_reference.")
]
PosesOption = Annotated[
    str, typer.Option(help="original, or optimized (refined to the echo) where the sweep has them.")
]
HeadlessOption = Annotated[
    bool, typer.Option("--headless", help="No window; needs neither Qt nor a display.")
]


@app.callback()
def common(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every step.")] = False,
) -> None:
    from navapp.log_setup import configure_logging

    configure_logging(is_verbose=verbose)


@app.command()
def demo(
    sweep: Annotated[
        Path | None, typer.Option(help="Recorded sweep; default: a simulated one.")
    ] = None,
    speed: Annotated[str, typer.Option(help="Times real time, or max.")] = "1",
    headless: HeadlessOption = False,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/demo"),
    model: ModelOption = None,
    provider: ProviderOption = None,
    ct: CtOption = None,
    calibration: CalibrationOption = None,
    registration: RegistrationOption = None,
) -> int:
    """Serve a sweep and receive it: both ends of a real socket, in one call."""
    from navapp.demo import for_simulation, serve, write_simulation
    from navapp.desk.replay_server import ReplayServer
    from navapp.equipment import load_equipment
    from navapp.feeds import LiveFeed
    from navapp.report import prepare_folder
    from recon.simulator import SimulatedSweep
    from tracking.sequences import Sweep, open_sweep

    factor = _speed(speed)
    prepare_folder(out)
    settings = _settings(None, model, ct, calibration, registration, provider)
    source: Sweep
    if sweep is None:
        source = simulated = SimulatedSweep()
        simulated.render(0)  # compiles the painter before anybody waits for an image
        settings = for_simulation(settings, *write_simulation(simulated, out / "simulation"))
    else:
        source = open_sweep(sweep)
    equipment = load_equipment(settings, sweep)
    with ExitStack() as stack:
        # A person looks at the result until they close the window; a script has nobody to do so.
        closes = not sys.stdin.isatty()
        title = f"navapp demo: {source.name}"
        window = None if headless else _window(title, out, stack, closes_itself=closes)
        if window is not None and not window.closes_itself:
            # With somebody to look, the recording stays, and can be sought and played again.
            served = ReplayServer(source, speed=factor)
            window = replace(window, replay=served)
            port = served.port
        else:
            port = stack.enter_context(serve(source, factor))
        # This port is gone with the demo: the saved settings keep the user's.
        server = settings.server.model_copy(update={"port": port})
        feed = LiveFeed(server, until_closed=True, gives_up=True)
        return _run(settings, equipment, feed, window, out)


@app.command()
def run(
    config: Annotated[Path | None, typer.Option(help="Settings (TOML).")] = None,
    server: Annotated[
        list[str] | None,
        typer.Option(help="HOST:PORT; default 127.0.0.1:18944. May repeat: tracker and scanner."),
    ] = None,
    reconnect: Annotated[
        bool | None, typer.Option(help="Connect again when a server was lost; default: yes.")
    ] = None,
    results_port: Annotated[
        int | None, typer.Option(help="Serve mask, bone points and probe pose here.", min=0)
    ] = None,
    image: Annotated[str | None, typer.Option(help="Image stream.")] = None,
    probe: Annotated[str | None, typer.Option(help="Probe's tool or pose stream.")] = None,
    reference: Annotated[str | None, typer.Option(help="Reference's tool or pose stream.")] = None,
    image_lag_ms: Annotated[
        float | None,
        typer.Option(help="Images are stamped this much late; default: calibration's."),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Record every message into OUT/recording.mcap.")
    ] = False,
    headless: HeadlessOption = False,
    seconds: Annotated[float | None, typer.Option(help="End after so long.", min=0.0)] = None,
    until_closed: Annotated[
        bool, typer.Option("--until-closed", help="End when the server closes.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the results.")] = None,
    model: ModelOption = None,
    provider: ProviderOption = None,
    ct: CtOption = None,
    calibration: CalibrationOption = None,
    registration: RegistrationOption = None,
) -> int:
    """Live session with an OpenIGTLink server; ends on --seconds, Ctrl-C or closing the window."""
    from navapp.equipment import load_equipment
    from navapp.feeds import LiveFeed
    from navapp.recorder import Recorder
    from navapp.report import prepare_folder

    settings = _settings(
        config,
        model,
        ct,
        calibration,
        registration,
        provider,
        server={**(_address(server[0]) if server else {}), "reconnect": reconnect},
        more_servers=[_address(text) for text in (server or [])[1:]],
        results={"port": results_port},
        streams={"image": image, "probe": probe, "reference": reference},
        matching={"image_lag_s": None if image_lag_ms is None else image_lag_ms * 1e-3},
    )
    out = out or Path("out") / datetime.now().strftime("run-%Y%m%d-%H%M%S")
    prepare_folder(out)
    recorder = Recorder(out / "recording.mcap") if record else None
    equipment = load_equipment(settings)
    with ExitStack() as stack:
        window = (
            None
            if headless
            else _window("navapp", out, stack, closes_itself=until_closed, needs_screen=True)
        )
        feed = LiveFeed(
            settings.server,
            until_closed=until_closed,
            gives_up=headless,
            more_servers=settings.more_servers,
        )
        return _run(settings, equipment, feed, window, out, seconds, recorder=recorder)


@app.command()
def replay(
    sweep: Annotated[Path, typer.Argument(help="Recorded sweep.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 18944,
    speed: Annotated[str, typer.Option(help="Times real time, or max.")] = "1",
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end.")] = False,
    from_s: Annotated[float | None, typer.Option("--from", help="Begin at this second.")] = None,
    to_s: Annotated[float | None, typer.Option("--to", help="End at this second.")] = None,
    poses: PosesOption = "original",
    stamps: Annotated[
        str, typer.Option(help="original, or now: as if it were recorded at this moment.")
    ] = "original",
    fault: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE, such as loss=0.01 or jitter_s=0.02; may repeat."),
    ] = None,
) -> int:
    """Serve a recorded sweep as an OpenIGTLink server; waits for a client, then begins."""
    from navapp.live import Interrupts
    from tracking.replay import Replay
    from tracking.sequences import open_sweep
    from tracking.server import Server

    source = open_sweep(sweep, poses=poses)
    with Server(host, port) as server, Interrupts() as interrupts:
        player = Replay(
            source,
            server,
            speed=_speed(speed),
            loop=loop,
            from_s=from_s,
            to_s=to_s,
            stamps=_stamps(stamps),
            faults=_faults(fault or []),
        )
        print(f"{source.name}: {source.n_images} images at {host}:{server.port}", flush=True)
        result = player.run(interrupts.stop)
        n_dropped = server.n_dropped
    print(f"sent {result.n_images} images and {result.n_poses} poses")
    if n_dropped:
        print(f"{n_dropped} messages were dropped: a client was too slow", file=sys.stderr)
    if result.n_unreadable:
        print(f"{result.n_unreadable} images could not be read", file=sys.stderr)
        return _FAILED
    return _INTERRUPTED if interrupts.seen else _DONE


@app.command()
def reconstruct(
    sweep: Annotated[Path, typer.Argument(help="Recorded sweep.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    config: Annotated[Path | None, typer.Option(help="Settings (TOML).")] = None,
    poses: PosesOption = "original",
    model: ModelOption = None,
    provider: ProviderOption = None,
    ct: CtOption = None,
    calibration: CalibrationOption = None,
    registration: RegistrationOption = None,
) -> int:
    """Every frame of a sweep, without a socket, as fast as it goes; the same result each time."""
    from navapp.equipment import load_equipment
    from navapp.errors import ConfigError
    from navapp.feeds import SweepFeed
    from navapp.report import prepare_folder
    from tracking.sequences import open_sweep

    prepare_folder(out)
    settings = _settings(config, model, ct, calibration, registration, provider)
    source = open_sweep(sweep, poses=poses)
    if source.n_images == 0:
        raise ConfigError(f"{sweep}: holds no images, so there is nothing to reconstruct")
    equipment = load_equipment(settings, sweep)
    feed = SweepFeed(source, settings.matching.max_pose_gap_s, equipment.image_lag_s)
    return _run(settings, equipment, feed, None, out, is_live=False)


@app.command()
def volume(
    sweep: Annotated[Path, typer.Argument(help="Recorded sweep.")],
    out: Annotated[Path, typer.Option(help="Volume (.mha or .nrrd); replaced if it exists.")],
    spacing: Annotated[float, typer.Option(help="Side of a voxel, mm.")] = 0.5,
    interpolation: Annotated[str, typer.Option(help="nearest or linear.")] = "nearest",
    compounding: Annotated[str, typer.Option(help="latest, maximum or mean.")] = "mean",
    fill_holes: Annotated[
        bool, typer.Option("--fill-holes", help="Bridge what lies between seen voxels.")
    ] = False,
    plus_mean: Annotated[
        bool | None,
        typer.Option(help="Mean in whole grey values; default: if the calibration is PLUS's."),
    ] = None,
    poses: PosesOption = "original",
    model: Annotated[Path | None, typer.Option(help="Not needed for a volume.")] = None,
    ct: Annotated[list[Path] | None, typer.Option(help="Not needed for a volume.")] = None,
    calibration: CalibrationOption = None,
    registration: RegistrationOption = None,
) -> int:
    """Compound the images of a sweep into a volume."""
    from navapp.sweep_volume import as_lines, make_volume, parse_plan
    from tracking.sequences import open_sweep

    plan = parse_plan(spacing, interpolation, compounding, fill_holes, plus_mean)
    settings = _settings(None, model, ct, calibration, registration)
    result = make_volume(open_sweep(sweep, poses=poses), sweep, out, settings, plan)
    print(f"{as_lines(result)}\nsaved      {out}")
    return _DONE


@app.command()
def record(
    out: Annotated[Path, typer.Option(help="New recording (.mcap).")],
    server: Annotated[str, typer.Option(help="HOST:PORT.")] = "127.0.0.1:18944",
    seconds: Annotated[float | None, typer.Option(help="End after so long.", min=0.0)] = None,
    until_closed: Annotated[
        bool, typer.Option("--until-closed", help="End when the server closes.")
    ] = False,
) -> int:
    """Record every message of a server; ends on --seconds or Ctrl-C."""
    from navapp.config import ServerSettings
    from navapp.file_commands import record_server
    from navapp.live import Ending

    result, ending = record_server(ServerSettings(**_address(server)), out, seconds, until_closed)
    print(f"recorded {result.n_messages} messages, {result.n_bytes / 1e6:.1f} MB, in {out}")
    if result.problem is not None:
        return _say(result.problem, _FAILED)
    return _say("interrupted", _INTERRUPTED) if ending is Ending.INTERRUPTED else _DONE


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Recorded sweep.")],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="New .mcap, .igs.mha, .igs.nrrd, or (without a suffix) UltraBones100k folder.",
        ),
    ],
    poses: PosesOption = "original",
    raw: Annotated[
        bool, typer.Option("--raw", help="Do not compress the pixels of .igs.mha and .igs.nrrd.")
    ] = False,
    image_lag_ms: Annotated[
        float, typer.Option(help="For a folder, whose poses are those of what an image shows.")
    ] = 0.0,
) -> int:
    """Save a sweep in another format, and say what that format cannot hold."""
    from tracking.sequences import open_sweep, save_sweep

    written = save_sweep(
        open_sweep(source, poses=poses),
        target,
        is_compressed=not raw,
        image_lag_s=image_lag_ms * 1e-3,
    )
    print(f"{target}: {written.n_images} images and {written.n_poses} poses")
    for note in written.notes:
        print(f"note: {note}")
    return _DONE


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="Sweep, recording, model or calibration.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> int:
    """What a file holds."""
    import json

    from navapp.file_commands import as_text, describe

    facts = describe(file)
    print(json.dumps(facts, indent=2, allow_nan=False) if as_json else as_text(facts))
    return _DONE


app.add_typer(calibrate_cli.app, name="calibrate")
app.command()(calibrate_cli.register)


def main() -> None:
    """Console entry: every expected error is one line and the right exit code."""
    sys.exit(_door())


def _door() -> int:
    from inference.errors import InferenceError
    from navapp.errors import NavappError, SessionError
    from recon.errors import ReconError
    from tracking.errors import TrackingError, WriteError

    try:
        return app(standalone_mode=False) or _DONE
    except typer.Exit as ending:
        return ending.exit_code
    except TyperException as error:
        # Without a message, what was wrong has been said: the help was shown.
        message = error.format_message()
        return _say(message, _WRONG_INPUT) if message else _WRONG_INPUT
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted", _INTERRUPTED)
    except (SessionError, WriteError) as error:
        return _say(str(error), _FAILED)
    except (NavappError, TrackingError, InferenceError, ReconError) as error:
        return _say(str(error), _WRONG_INPUT)
    except Exception as error:
        import logging

        logging.getLogger("navapp").debug("unexpected", exc_info=error)
        return _say(f"unexpected {type(error).__name__}: {error} (details with -v)", _FAILED)


def _run(
    settings: Settings,
    equipment: Equipment,
    feed: Feed,
    window: WindowPlan | None,
    out: Path,
    seconds: float | None = None,
    *,
    is_live: bool = True,
    recorder: Recorder | None = None,
) -> int:
    """Run a session to its end and save what it gave, however it ended."""
    from navapp.live import Ending, Interrupts, run
    from navapp.report import conclude, save
    from navapp.session import Session, SessionMode
    from navapp.summary import summary

    mode = SessionMode(is_live=is_live, has_window=window is not None)
    session = Session(settings, equipment, feed, mode, recorder)
    with Interrupts() as interrupts:
        ran = run(session, window, seconds, interrupts)
        ending, session, out = ran.ending, ran.session, ran.folder or out
        result = conclude(
            session,
            startup_s=session.t_started_s - _STARTED_S,
            is_complete=ending is Ending.ENDED,
        )
        folder = save(result, session, out)
    if recorder is not None and (session.failure is not None or session.unreached is not None):
        recorder.discard_empty()
    if result.report["frames"]["received"] or session.failure is None:
        print(summary(result.report))
        print(f"saved      {folder}")
    if folder != out:
        return _say(f"{out} cannot be written any more; the results are in {folder}", _FAILED)
    if ending is Ending.INTERRUPTED:
        return _say(f"interrupted; what was received until then is in {out}", _INTERRUPTED)
    if ending is Ending.WINDOW_FAILED:
        return _say(f"the window failed; what was received until then is in {out}", _FAILED)
    return _verdict(session, out)


def _verdict(session: Session, out: Path) -> int:
    from navapp.errors import StreamError
    from navapp.state import DropReason

    frames = session.tally.frames
    if session.failure is None and frames.received and not frames.processed:
        n_unfit = frames.skipped[DropReason.BAD_IMAGE] + frames.skipped[DropReason.HELD]
        why = "; ".join(session.warnings) or "see the counts above"
        calibration = session.equipment.calibration.source
        line = f"none of {frames.received} images gave points: {why} (with {calibration})"
        return _say(line, _WRONG_INPUT if n_unfit == frames.received else _FAILED)
    if session.failure is None and session.unreached is not None:
        return _say(f"{session.unreached}; nothing was received", _FAILED)
    if session.failure is None:
        problem = session.recorder.problem if session.recorder else None
        return _say(f"{problem}; the session went on: {out}", _FAILED) if problem else _DONE
    code = _WRONG_INPUT if isinstance(session.failure, StreamError) else _FAILED
    return _say(f"{session.failure}; what was received until then is in {out}", code)


def _settings(
    config: Path | None,
    model: Path | None,
    ct: list[Path] | None,
    calibration: Path | None,
    registration: Path | None,
    provider: str | None = None,
    **sections: dict[str, Any] | list[Any],
) -> Settings:
    from navapp.config import load_settings

    geometry = {
        "calibration": calibration,
        "registration": registration,
        "ct": tuple(ct) if ct else None,
    }
    network = {"path": model, "provider": provider}
    return load_settings(config, {"model": network, "geometry": geometry, **sections})


def _window(
    title: str, out: Path, stack: ExitStack, *, closes_itself: bool, needs_screen: bool = False
) -> WindowPlan:
    """A window on the screen there is, or on a virtual one, which always ends with the session."""
    from navapp.errors import ConfigError
    from navapp.gui.virtual_display import has_display, virtual_display
    from navapp.live import WindowPlan

    if has_display():
        return WindowPlan(title, closes_itself, out, screenshots=out)
    if needs_screen:
        raise ConfigError(
            "no display: set DISPLAY, use --headless, or begin with `xvfb-run -a navapp run ...`"
        )
    stack.enter_context(virtual_display())
    return WindowPlan(title, closes_itself=True, folder=out, screenshots=out)


def _speed(text: str) -> float | None:
    """Times real time; None for as fast as the clients take it."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed < float("inf"):
        raise typer.BadParameter(f"--speed is {text}, expected a number above 0, or max")
    return speed


def _stamps(text: str) -> Literal["original", "now"]:
    if text == "original":
        return "original"
    if text == "now":
        return "now"
    raise typer.BadParameter(f"--stamps is {text}, expected original or now")


def _faults(texts: list[str]) -> Faults:
    """What goes wrong on purpose, from NAME=VALUE."""
    from tracking.faults import Faults

    no_faults = asdict(Faults())
    values: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            values[name] = type(no_faults[name])(value)
        except (KeyError, ValueError):
            name = ""
        if name not in no_faults:
            raise typer.BadParameter(
                f"--fault is {text}, expected NAME=VALUE with a name of {', '.join(no_faults)}"
            )
    try:
        return Faults(**values)
    except ValueError as error:
        raise typer.BadParameter(f"--fault: {error}") from None


def _address(server: str) -> dict[str, Any]:
    host, separator, port = server.rpartition(":")
    if not separator or not (port.isascii() and port.isdigit()):
        raise typer.BadParameter(f"--server is {server}, expected HOST:PORT")
    return {"host": host.strip("[]"), "port": int(port)}


def _say(line: str, code: int) -> int:
    print(f"navapp: {' '.join(line.split())}", file=sys.stderr)
    return code
