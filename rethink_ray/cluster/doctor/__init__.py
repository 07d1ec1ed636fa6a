"""What must hold before a study runs."""
