"""One run: schedule, ladder, checkpoints, and the classifiers that others start from."""
