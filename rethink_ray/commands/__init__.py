"""The commands, by family: they parse arguments and print. A room is imported when it is needed."""
