"""What happened: the log of a study, its state, and the tables everybody reads."""
