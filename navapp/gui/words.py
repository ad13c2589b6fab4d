"""What the window says, apart from the numbers."""

from __future__ import annotations

from navapp.state import DropReason

# One sentence each, for the banner over the image and for tooltips.
DROP_SENTENCES: dict[DropReason, str] = {
    DropReason.SUPERSEDED: "a newer image came before this one was looked at",
    DropReason.NO_POSE: "no pose near the image's time",
    DropReason.POSE_GAP: "the poses around the image are too far apart",
    DropReason.POSE_INVALID: "the tracker marks the pose as unusable",
    DropReason.STALE: "the image was too old when its turn came",
    DropReason.HELD: "insertion is on hold",
    DropReason.BAD_IMAGE: "the image cannot be read or does not fit the calibration",
}

DISCLAIMER = "Research software, not a medical device."


def drop_word(reason: DropReason) -> str:
    """The reason in one or two words."""
    return reason.value.replace("_", " ")
