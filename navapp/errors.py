"""Errors that a user of the application can meet."""


class NavappError(Exception):
    """Base of every expected error of this package; its text is one line for a person."""


class ConfigError(NavappError):
    """The configuration or the command line asks for something that cannot be."""


class SessionError(NavappError):
    """A session could not do its work."""


class StreamError(SessionError):
    """The streams that were asked for are not the ones that the server sends."""
