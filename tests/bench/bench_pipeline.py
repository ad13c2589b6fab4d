"""The whole way, measured: a simulated sweep and, where they are at hand, the recorded ones.

    python tests/bench/bench_pipeline.py [--json]

Every figure comes from the `report.json` of a command that a user can call as well.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tracking.sequences import open_sweep

_ROOT = Path(__file__).resolve().parents[2]
_DATA = Path(os.environ.get("NAVAPP_SHARED_DATA") or _ROOT.parent / "shared" / "data")
_RECORDS = _DATA / "ultrabones/AI_Ultrasound_dataset/cadaver01_fibula"


def report(*arguments: str) -> dict[str, Any]:
    """The report of one `navapp` command."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "navapp", *arguments, "--out", out]
        subprocess.run(command, cwd=_ROOT, check=True, stdout=subprocess.DEVNULL)
        loaded: dict[str, Any] = json.loads((Path(out) / "report.json").read_text())
        return loaded


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """What is worth a line of a table."""
    distance, back = found["ct_distance_mm"], found["ct_to_cloud_mm"]
    end_to_end = found["latency_ms"]["end_to_end"]
    return {
        "received": found["frames"]["received"],
        "processed": found["frames"]["processed"],
        "points_per_frame": round(found["points_per_frame"], 1),
        "cloud_to_ct_mean_mm": round(distance["mean"], 3),
        "cloud_to_ct_p95_mm": round(distance["p95"], 3),
        "ct_to_cloud_mean_mm": round(back["mean"], 3),
        "infer_p50_ms": round(found["latency_ms"]["infer"]["p50"], 2),
        "end_to_end_p95_ms": end_to_end and round(end_to_end["p95"], 1),
        "seconds": round(found["seconds"], 2),
    }


def sweep_seconds(record: Path) -> float:
    """From a record's first image to its last."""
    begin_s, end_s = open_sweep(record).span_s
    return end_s - begin_s


def measure() -> dict[str, dict[str, Any]]:
    found = {"simulated, demo at 1x": figures(report("demo", "--headless"))}
    if _RECORDS.is_dir():
        record01, record02 = str(_RECORDS / "record01"), str(_RECORDS / "record02")
        found["record01, demo at 1x"] = figures(report("demo", "--headless", "--sweep", record01))
        found["record01, reconstruct"] = first = figures(report("reconstruct", record01))
        first["times_real_time"] = round(sweep_seconds(_RECORDS / "record01") / first["seconds"], 1)
        found["record02, reconstruct"] = figures(report("reconstruct", record02))
    else:
        print(f"no recordings at {_DATA}: left out", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy and latency of the whole way.")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure()
    if arguments.json:
        print(json.dumps(found))
        return
    for name, values in found.items():
        print(name)
        for key, value in values.items():
            print(f"  {key:22}{value}")


if __name__ == "__main__":
    main()
