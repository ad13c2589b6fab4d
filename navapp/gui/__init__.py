"""The window, the only Qt code."""

# Before PySide6: pydantic's submodules, loaded after it, end in a circular import.
import navapp.config  # noqa: F401
