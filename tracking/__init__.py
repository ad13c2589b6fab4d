"""Space, time, messages and devices: everything below the algorithms."""
