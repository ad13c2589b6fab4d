"""What a person does in a session and is told of it, with or without a window: no Qt."""
