"""What the commands of `offline-tools` share: where they print, options, provenance."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

console = Console()

DATA_CREDIT = "UltraBones100k, Wu et al. 2025, CC BY 4.0"

Data = Annotated[
    list[Path], typer.Option(help="UltraBones100k record, or a folder of records; may repeat.")
]


def short_name(record: Path) -> str:
    """Specimen and record: says which one without saying where it lies."""
    return "/".join(record.resolve().parts[-2:])


def machine() -> str:
    """The processor and how many of its cores there are, for figures of speed."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next(
            (x.partition(":")[2].strip() for x in lines if x.startswith("model name")), name
        )
    return f"{name}, {os.cpu_count()} cores"


def made_with() -> dict[str, Any]:
    """Versions and commit, for the provenance of what is made."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    packages = ("navapp", "numpy", "torch", "onnx", "onnxruntime-gpu")
    return {
        "git_commit": commit or None,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }
