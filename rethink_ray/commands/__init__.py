"""The commands: they parse arguments and print. Packages are imported when a command needs them."""
