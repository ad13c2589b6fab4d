"""The application: commands, session, pipeline, window."""
