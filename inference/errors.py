"""Errors that a user of `inference` can meet."""


class InferenceError(Exception):
    """Base of every expected error of this package; its text is one line for a person."""


class ModelError(InferenceError):
    """A network file is missing, broken, or promises what this program cannot honour."""


class OutputError(InferenceError):
    """The network's output for one image is of no use; the next one's may be."""
