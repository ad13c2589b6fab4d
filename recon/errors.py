"""Errors that a user of `recon` can meet."""


class ReconError(Exception):
    """Base of every expected error of this package; its text is one line for a person."""
