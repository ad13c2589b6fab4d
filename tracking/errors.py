"""Errors that a user of `tracking` can meet."""


class TrackingError(Exception):
    """Base of every expected error of this package; its text is one line for a person."""


class TransformError(TrackingError):
    """A matrix is not the transform it claims to be."""


class CalibrationError(TrackingError):
    """A calibration file cannot be read or does not fit the images."""


class SequenceError(TrackingError):
    """A recorded sweep is missing, broken or not of a known format."""


class WriteError(SequenceError):
    """A sweep cannot be written: the disk is full, or the place is not ours."""


class WireError(TrackingError):
    """Bytes from a peer do not follow OpenIGTLink."""


class LinkError(TrackingError):
    """A server cannot be reached, does not answer, or a port cannot be bound."""
