"""What only reports read: published tables, prices, images and boxes. ``judge.read`` has scores."""
