"""The report of a session in a few lines for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from navapp.state import DropReason

_SKIPPED = {
    DropReason.SUPERSEDED: "superseded by a newer one",
    DropReason.NO_POSE: "without a pose",
    DropReason.POSE_GAP: "in a gap of the poses",
    DropReason.POSE_INVALID: "with a pose that the tracker marked invalid",
    DropReason.STALE: "too old",
    DropReason.HELD: "held back, as insertion was off or their spacing is not the calibration's",
    DropReason.BAD_IMAGE: "unreadable or unfit",
    DropReason.FAILED: "failed",
}


def summary(report: Mapping[str, Any]) -> str:
    """The report in a few lines for a person."""
    frames = report["frames"]
    skipped = "; ".join(
        f"{n} {_SKIPPED[DropReason(reason)]}" for reason, n in frames["skipped"].items() if n
    )
    lines = [
        f"images     {frames['processed']} of {frames['received']} processed"
        + (f" ({skipped})" if skipped else ""),
        f"poses      {report['poses']['received']} received, image lag "
        f"{report['image_lag_s'] * 1e3:.0f} ms applied",
        f"cloud      {report['points']} points in frame {report['frame']}",
        f"provider   {report['provider']} ({report['provider_reason']})",
        f"measured   with {', '.join([report['calibration']['source'], *report['ct']])}",
        *(f"network    {_swap_line(swap)}" for swap in report["model_swaps"]),
        *(f"warning    {sentence}" for sentence in report["warnings"]),
    ]
    if report["volume"] is not None:
        lines.append(f"volume     {_volume_line(report['volume'])}")
    recording = report["recording"]
    if recording is not None:
        lines.append(f"recording  {recording['n_messages']} messages in {recording['file']}")
    latency = report["latency_ms"]["end_to_end"]
    if latency is not None:
        lines.append(
            f"latency    end to end p50 {latency['p50']:.1f} ms, p95 {latency['p95']:.1f} ms"
            f" ({latency['n']} images)"
        )
    distance = report["ct_distance_mm"]
    if distance is not None:
        lines.append(
            f"to CT      mean {distance['mean']:.3f} mm, median {distance['median']:.3f} mm, "
            f"p95 {distance['p95']:.3f} mm"
        )
    else:
        lines.append(f"to CT      not measured: {report['ct_distance_reason']}")
    return "\n".join(lines)


def _swap_line(swap: Mapping[str, Any]) -> str:
    outcome = "took over" if swap["problem"] is None else f"not used: {swap['problem']}"
    return f"{swap['name']} {outcome} (at {swap['t_s']:.1f} s)"


def _volume_line(volume: Mapping[str, Any]) -> str:
    if volume["file"] is None:
        return f"not saved: {volume['problem']}"
    size = "x".join(str(n) for n in volume["size_voxels"])
    parts = [f"{size} voxels of {volume['spacing_mm']:g} mm from {volume['images']} images"]
    if volume["images_left_out"]:
        parts.append(f"{volume['images_left_out']} left out for lack of time")
    if volume["problem"]:
        parts.append(volume["problem"])
    return "; ".join(parts)
