"""The networks that ship with the program, and their cards."""
