"""Errors that a user of `offline_tools` can meet."""


class OfflineToolsError(Exception):
    """Base of every expected error of this package; its text is one line for a person."""


class InputError(OfflineToolsError):
    """What the user gave is missing, broken or does not fit: exit code 2."""


class WorkError(OfflineToolsError):
    """The input was right but the work failed or missed its gate: exit code 1."""
