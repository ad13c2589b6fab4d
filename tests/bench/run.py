"""Every benchmark in turn: a table on the screen, all figures in `out/bench/bench.json`.

Each benchmark is a script of its own, `bench_*.py`, that can be called alone. Those with a peer
run it in the same process pair, interleaved: quote the ratios, not the milliseconds.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_OUT = _HERE.parents[1] / "out" / "bench"


def main() -> int:
    results: dict[str, Any] = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "n_cpus": os.cpu_count(),
            "load_before": os.getloadavg()[0],
            "python": platform.python_version(),
        }
    }
    failed = []
    for script in sorted(_HERE.glob("bench_*.py")):
        name = script.stem.removeprefix("bench_")
        start_s = time.monotonic()
        done = subprocess.run(
            [sys.executable, str(script), "--json"],
            cwd=_HERE.parents[1],
            env={**os.environ, "PYTHONPATH": str(_HERE.parents[1])},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        print(f"\n== {name} ({time.monotonic() - start_s:.0f} s)")
        if done.returncode:
            failed.append(name)
            print(f"failed with {done.returncode}")
            continue
        results[name] = json.loads(done.stdout.strip().splitlines()[-1])
        _print(results[name], "  ")
    _OUT.mkdir(parents=True, exist_ok=True)
    (_OUT / "bench.json").write_text(json.dumps(results, indent=2) + "\n")
    print(f"\nsaved {_OUT.name}/bench.json" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def _print(figures: dict[str, Any], indent: str) -> None:
    for key, value in figures.items():
        if isinstance(value, dict):
            print(f"{indent}{key}")
            _print(value, indent + "  ")
        else:
            print(f"{indent}{key:28}{f'{value:.4g}' if isinstance(value, float) else value}")


if __name__ == "__main__":
    sys.exit(main())
