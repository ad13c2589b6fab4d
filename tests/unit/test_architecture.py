"""The rules that keep the house in order, checked on every import of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("navapp", "offline_tools", "recon", "inference", "tracking")

# Arrows point down only; packages of one line do not know each other.
_MAY_IMPORT = {
    "navapp": {"recon", "inference", "tracking"},
    "offline_tools": {"recon", "inference", "tracking"},
    "recon": {"tracking"},
    "inference": {"tracking"},
    "tracking": set(),
}

# Where a library may be imported; every other place is a defect.
_HOMES = {
    "PySide6": ("navapp/gui/",),
    "pyqtgraph": ("navapp/gui/",),
    "OpenGL": ("navapp/gui/",),
    "torch": ("offline_tools/",),
    "onnx": ("offline_tools/",),
    "pyigtl": ("tracking/wire.py",),
    "mcap": ("tracking/sequences/",),
    "open3d": ("recon/mesh_io.py", "recon/registration.py"),
    "onnxruntime": ("inference/", "offline_tools/"),
}


def _modules() -> list[Path]:
    return sorted(path for package in _PACKAGES for path in (_ROOT / package).rglob("*.py"))


def _imports(path: Path) -> set[str]:
    """Dotted names of everything a file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def _relative(path: Path) -> str:
    return path.relative_to(_ROOT).as_posix()


@pytest.mark.parametrize("path", _modules(), ids=_relative)
def test_imports_point_down(path: Path) -> None:
    package = path.relative_to(_ROOT).parts[0]
    used = {name.partition(".")[0] for name in _imports(path)} & set(_PACKAGES)
    assert used <= _MAY_IMPORT[package] | {package}


def test_the_floors_of_the_application() -> None:
    """The engine knows neither desk nor window, the desk no window; commands stand above all."""
    commands = {"navapp/cli.py", "navapp/live.py", "navapp/__main__.py", "navapp/file_commands.py"}
    above = {"navapp/desk/": ("navapp.gui",), "navapp/gui/": (), "navapp/calibrate/": ()}
    for path in (_ROOT / "navapp").rglob("*.py"):
        name = _relative(path)
        if name in commands:
            continue
        floor = next((folder for folder in above if name.startswith(folder)), None)
        forbidden = ("navapp.desk", "navapp.gui") if floor is None else above[floor]
        used = {used for used in _imports(path) if used.startswith(forbidden or ("-",))}
        assert not used, f"{name} knows {used}"


@pytest.mark.parametrize("path", _modules(), ids=_relative)
def test_libraries_stay_at_home(path: Path) -> None:
    used = {name.partition(".")[0] for name in _imports(path)}
    for library, homes in _HOMES.items():
        if library in used:
            assert _relative(path).startswith(homes), f"{library} belongs in {homes}"


def test_no_import_cycles() -> None:
    """Imports inside functions count too: a cycle hidden in a function is still a cycle."""
    files = {_dotted(path): path for path in _modules()}
    graph = {name: {n for n in _imports(path) if n in files} for name, path in files.items()}
    # Every submodule runs its package's __init__, which is only a cycle if that imports back.
    state: dict[str, int] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert state.get(name) != 1, f"cycle: {' -> '.join((*trail, name))}"
        if state.get(name) == 2:
            return
        state[name] = 1
        for target in graph[name] - {name}:
            visit(target, (*trail, name))
        state[name] = 2

    for name in graph:
        visit(name, ())


def _dotted(path: Path) -> str:
    parts = path.relative_to(_ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        (
            "import navapp.session, navapp.report, navapp.feeds, navapp.demo, navapp.live",
            ("PySide6", "pyqtgraph", "OpenGL", "torch", "open3d", "onnx"),
        ),
        ("import navapp.cli", ("numpy", "numba", "onnxruntime", "PySide6", "torch")),
        ("import offline_tools.cli", ("torch", "torchvision", "PySide6", "onnx")),
        ("import navapp.gui.app", ("torch", "open3d")),
    ],
)
def test_a_fresh_process_loads_no_more_than_it_needs(
    statement: str, absent: tuple[str, ...]
) -> None:
    code = f"import sys; {statement}; print(*sorted({{n.partition('.')[0] for n in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    assert not set(absent) & set(done.stdout.split())


def test_no_asserts_and_no_prints_outside_the_command_line() -> None:
    for path in _modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            assert not isinstance(node, ast.Assert), f"{_relative(path)}:{node.lineno}"
            is_print = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
            assert not is_print or path.name == "cli.py", f"{_relative(path)}:{node.lineno}"
