"""What a verdict costs: this program and three ways without it, on planted response surfaces."""
