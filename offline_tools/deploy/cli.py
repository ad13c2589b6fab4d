"""The command `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from offline_tools.command_line import console


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    out: Annotated[Path, typer.Option(help="The .onnx file to write.")],
) -> None:
    """Write a run's network as one ONNX file with its contract inside."""
    from offline_tools.deploy.export_onnx import export as run_export

    result = run_export(run, out)
    console.print(
        f"{out}: {result.n_bytes / 1e6:.2f} MB, differs from torch by at most "
        f"{result.largest_difference:.1e}"
    )
