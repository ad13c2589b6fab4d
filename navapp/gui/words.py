"""What the window says, apart from the numbers."""

from __future__ import annotations

from navapp.state import DropReason

# One sentence each, for the banner over the image and for tooltips.
DROP_SENTENCES: dict[DropReason, str] = {
    DropReason.SUPERSEDED: "a newer image came first",
    DropReason.NO_POSE: "no pose near the image's time",
    DropReason.POSE_GAP: "poses around it are too far apart",
    DropReason.POSE_INVALID: "the tracker marks it unusable",
    DropReason.STALE: "the image came too late",
    DropReason.HELD: "insertion is on hold",
    DropReason.BAD_IMAGE: "unreadable or not as calibrated",
    DropReason.FAILED: "the session ended with an error",
}

BEGIN_ANEW = "Begin a new session with these"
BEGIN_ANEW_TOOLTIP = (
    "Connects anew, in a session with a folder of its own.\n"
    "Nothing already received is lost: points that are not saved yet are saved first."
)

DISCLAIMER = "Research software, not a medical device."


def drop_word(reason: DropReason) -> str:
    """The reason in one or two words."""
    return reason.value.replace("_", " ")


def counted(n: int, noun: str) -> str:
    """ "1 sweep", "2 sweeps": a number with its noun."""
    return f"{n:,} {noun}{'s' * (n != 1)}"
