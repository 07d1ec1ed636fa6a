"""What it means: findings, their caveats and the report, from a study's tables."""
