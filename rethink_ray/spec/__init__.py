"""What we say: studies, recipes, spaces, and the errors for what cannot be run."""
