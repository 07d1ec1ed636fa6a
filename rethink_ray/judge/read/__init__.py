"""Numbers out of a study's tables: its cells, their curves and costs, and the samples to judge."""
