"""The commands, by family. Each imports a room only inside the command that needs it."""
