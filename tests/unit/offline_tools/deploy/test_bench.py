"""The latency table: its rows, its numbers, what did not run."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from inference.errors import ModelError
from inference.segmenter import default_model_path
from offline_tools.deploy import bench as module
from offline_tools.deploy.bench import STEPS, bench, table


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_thread_counts", lambda: (1,))
    monkeypatch.setattr(module, "PROVIDERS", ("auto", "cpu", "tpu"))


def test_every_step_has_its_percentiles() -> None:
    report = bench(default_model_path(), n_frames=10)
    (row,) = report["rows"]
    assert (row["provider"], row["threads"]) == ("cpu", 1)
    for step in STEPS:
        assert 0.0 < row[step]["p50"] <= row[step]["p95"] <= row[step]["p99"]
    parts = sum(row[step]["p50"] for step in STEPS[:-1])
    assert row["total"]["p50"] == pytest.approx(parts, rel=0.5)
    assert report["image_size_px"] == [1024, 896]  # 51.2 x 44.8 mm at 0.05 mm
    assert "provider is 'tpu'" in report["not_run"]["tpu"]
    console = Console(width=100, record=True)
    console.print(table(report))
    assert f"{row['total']['p95']:.2f}" in console.export_text()


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.onnx: cannot be read"):
        bench(tmp_path / "none.onnx", n_frames=10)
