"""Ray-distributed hyperparameter studies for object detectors."""
