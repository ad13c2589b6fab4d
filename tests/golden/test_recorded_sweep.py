"""The real sweep end to end: recorded images and poses against the CT surface of the same bone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from navapp.config import load_settings
from navapp.demo import serve
from navapp.equipment import load_equipment
from navapp.feeds import Feed, LiveFeed, SweepFeed
from navapp.live import Ending, Interrupts, run_to_end
from navapp.report import conclude, save
from navapp.session import Session, SessionMode
from tracking.sequences import open_sweep


def _report(record: Path, feed: Feed, out: Path, *, is_live: bool) -> dict[str, Any]:
    settings = load_settings(None, {})
    equipment = load_equipment(settings, record)
    session = Session(settings, equipment, feed, SessionMode(is_live=is_live, has_window=False))
    with Interrupts() as interrupts:
        assert run_to_end(session, None, None, interrupts) is Ending.ENDED
    save(conclude(session, startup_s=0.0, is_complete=True), session, out)
    loaded: dict[str, Any] = json.loads((out / "report.json").read_text())
    return loaded


def test_reconstruction_of_record02(record02: Path, tmp_path: Path) -> None:
    """A stretch of bone that training did not see in this pass."""
    feed = SweepFeed(open_sweep(record02), max_pose_gap_s=0.1, image_lag_s=0.0)
    report = _report(record02, feed, tmp_path, is_live=False)
    assert report["frames"]["received"] == report["frames"]["processed"] == 48
    assert report["frame"] == "ct"
    assert report["points_per_frame"] >= 60
    assert report["ct_distance_mm"]["mean"] <= 0.38
    assert report["ct_distance_mm"]["p95"] <= 1.0
    assert report["ct_distance_mm"]["n_rejected"] == 0
    assert report["ct_to_cloud_mm"]["mean"] <= 0.40
    assert 0.0 < report["coverage"]["seen_fraction"] < 0.3
    assert report["complete"] is True


@pytest.mark.timeout(120)
def test_record01_through_tcp(record01: Path, tmp_path: Path) -> None:
    with serve(open_sweep(record01), 2.0) as port:
        server = load_settings(None, {}).server.model_copy(update={"port": port})
        feed = LiveFeed(server, until_closed=True, gives_up=True)
        report = _report(record01, feed, tmp_path, is_live=True)
    frames = report["frames"]
    assert frames["received"] == report["poses"]["received"] == 135
    assert report["poses"]["lost"] == report["poses"]["invalid"] == 0
    assert frames["processed"] + sum(frames["skipped"].values()) == 135
    assert frames["processed"] >= 60, "a busy machine skips images, with a reason"
    # The labels that were refined to the echo lie 0.59 mm off the CT surface at these recorded
    # poses. A network that comes much nearer has learnt the poses' errors, as the first one had.
    assert report["ct_distance_mm"]["mean"] <= 0.7
