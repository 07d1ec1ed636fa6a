"""What runs next: cells, rounds, halving and proposals as pure functions of study and records."""
