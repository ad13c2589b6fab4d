"""What a file does that is opened or dropped on the window; and connecting anew."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from inference.segmenter import Segmenter
from navapp.config import Settings, load_settings
from navapp.desk.desk import Desk
from navapp.desk.journal import Event, read_events
from navapp.desk.navigation import Plan, load_plan
from navapp.desk.registering import load_landmarks
from navapp.desk.replay_server import visible_spans_s
from navapp.desk.session_folder import SavedSession, crashed_session, read_session, saved_sessions
from navapp.desk.starter import Started, Starter
from navapp.errors import ConfigError, SessionError
from navapp.gui.words import counted
from navapp.session import Session
from recon.mesh_io import read_mesh
from tracking.calibration import load_registration

_SWEEPS = (".mcap", ".mha", ".nrrd")
_SURFACES = (".stl", ".ply", ".obj")


class Opening:
    """Begins the next session with other settings, files or a recording; the old one is stopped.

    Parameters
    ----------
    on_taken_over : called when another session runs
    on_settings : called when the settings of the session that runs are other ones
    on_plan : called with a plan that was opened
    on_ready : called when another session is ready and this one still runs; `begin` or `stay`
        answers. Without it, it begins at once.
    """

    def __init__(
        self,
        desk: Desk,
        root: Path,
        on_taken_over: Callable[[], None],
        on_settings: Callable[[Settings], None],
        on_plan: Callable[[Plan | None], None],
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        self.root = root
        self.problem = ""
        self.events: tuple[Event, ...] = ()  # of the session that is replayed
        self._next_events: tuple[Event, ...] = ()  # of the one that is being loaded
        self.visible_s: tuple[tuple[float, float], ...] = ()
        if desk.replay is not None:
            self.visible_s = visible_spans_s(desk.replay.sweep)
        self._desk = desk
        self._starter = Starter(root)
        self._on_taken_over, self._on_plan = on_taken_over, on_plan
        self._on_settings, self._on_ready = on_settings, on_ready or self.begin
        self._ready: Started | None = None
        self._shown = desk.session.settings
        self._stopping: list[threading.Thread] = []

    @property
    def busy(self) -> str:
        """What is being done, in words; empty where nothing is."""
        return "loading the session ..." if self._starter.is_busy else ""

    @property
    def settings(self) -> Settings:
        """Of the session that runs."""
        return self._desk.session.settings

    def connect(self, settings: Settings, check: Callable[[], object] | None = None) -> None:
        """Begin a live session with these settings; what `check` raises is told before all else."""
        self._refuse_while_busy()
        self.problem, self._next_events = "", ()
        self._starter.live(settings, check)

    def open(self, path: Path) -> None:
        """A recording or a session's folder is replayed; other files change what runs.

        Raises
        ------
        ConfigError, TrackingError : what the file is not, in one line.
        """
        self.problem = ""
        suffix = path.suffix.lower()
        if not path.exists():
            raise ConfigError(f"{path}: no such file")
        if path.is_dir() and (path / "session.json").exists():
            self._open_session(path)
        elif path.name in ("report.json", "session.json", "events.jsonl"):
            self._open_session(path.parent)
        elif path.is_dir() or suffix in _SWEEPS:
            self._replay(self.settings, path, read_events(path.parent))
        elif suffix == ".onnx":
            self._use_model(path)
        elif suffix in _SURFACES:
            self.connect(_changed(self.settings, "geometry", ct=(path,)), lambda: read_mesh(path))
        elif suffix == ".toml":
            self._open_toml(path)
        elif suffix in (".json", ".xml"):
            self.connect(_changed(self.settings, "geometry", calibration=path))
        else:
            raise ConfigError(
                f"{path.name}: cannot be opened, expected a recording, a session, a model, a "
                "surface, a calibration or a plan"
            )

    def poll(self) -> None:
        """Take over the session that was built, if one was; five times a second."""
        self._stopping = [thread for thread in self._stopping if thread.is_alive()]
        outcome = self._starter.poll()
        if isinstance(outcome, Started):
            self.stay()
            self._ready = outcome
            self._on_ready()
        elif isinstance(outcome, str):
            self.problem = self._desk.message = outcome
        if self.settings is not self._shown:
            self._shown = self.settings
            self._on_settings(self._shown)

    def begin(self) -> None:
        """Go over to the session that is ready."""
        started, self._ready = self._ready, None
        if started is not None:
            self._take_over(started)

    def stay(self) -> None:
        """Go on with the session that runs; the one that is ready, if any, goes."""
        started, self._ready = self._ready, None
        if started is not None:
            started.close()

    def sessions(self) -> tuple[SavedSession, ...]:
        """Those that can be opened, the newest first; not the one that runs."""
        here = self._desk.folder.path.resolve()
        return tuple(s for s in saved_sessions(self.root) if s.folder.resolve() != here)

    def crashed(self) -> SavedSession | None:
        """What a crash left in the folders beside this session's."""
        return crashed_session(self.root, self._desk.folder.path)

    def close(self) -> None:
        """Wait for what is under way."""
        self._starter.close()
        self.stay()
        for thread in self._stopping:
            thread.join()

    def _use_model(self, path: Path) -> None:
        """In the session that runs, without a break; where none does, in a new one."""
        session = self._desk.session
        if isinstance(session, Session) and not session.finished.is_set():
            session.swap_model(path)
        else:
            model = self.settings.model
            self.connect(
                _changed(self.settings, "model", path=path), lambda: Segmenter(path, model.provider)
            )

    def _open_session(self, folder: Path) -> None:
        saved = read_session(folder)
        if not saved.recordings:
            raise ConfigError(f"{folder}: no recording in it, so there is nothing to replay")
        profile = folder / "session.toml"
        settings = load_settings(profile, {}) if profile.exists() else self.settings
        self._replay(settings, saved.recordings[-1], read_events(folder))
        if len(saved.recordings) > 1:
            others = ", ".join(path.name for path in saved.recordings[:-1])
            self._desk.message = (
                f"{saved.recordings[-1].name} is replayed; {others} in {folder}: Ctrl+O opens them"
            )

    def _replay(self, settings: Settings, sweep: Path, events: tuple[Event, ...]) -> None:
        self._refuse_while_busy()
        self._next_events = events
        self._starter.replay(settings, sweep)

    def _refuse_while_busy(self) -> None:
        if self._starter.is_busy:
            raise ConfigError("a session is being loaded: wait for it, and open this then")

    def _open_toml(self, path: Path) -> None:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        if "[plan]" in text:
            self._on_plan(load_plan(path))
        elif "[[landmark]]" in text:
            landmarks = load_landmarks(path)
            for name, ct_mm in landmarks:
                self._desk.registering.add(name, ct_mm)
            self._desk.message = f"{counted(len(landmarks), 'landmark')} of {path.name}"
        elif "[registration]" in text and "[probe]" not in text:
            self.connect(
                _changed(self.settings, "geometry", registration=path),
                lambda: load_registration(path),
            )
        elif "[probe]" in text:
            self.connect(_changed(self.settings, "geometry", calibration=path))
        else:
            self.connect(load_settings(path, {}))

    def _take_over(self, started: Started) -> None:
        old = self._desk.session
        try:
            self._desk.take_over(
                started.session, started.folder, started.replay, started.T_stylus_tip
            )
        except SessionError as error:
            started.close()
            self.problem = self._desk.message = str(error)
            return
        self.events, self.visible_s = self._next_events, started.visible_s
        if isinstance(old, Session):  # a network that takes its time may end in the background
            thread = threading.Thread(target=old.stop, name="stop session")
            thread.start()
            self._stopping.append(thread)
        started.session.start()
        self._on_taken_over()


def _changed(settings: Settings, section: str, **values: object) -> Settings:
    part = getattr(settings, section).model_copy(update=values)
    return settings.model_copy(update={section: part})
