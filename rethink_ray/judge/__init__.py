"""What is decided: statistics, claims, verdicts. No file, no clock."""
