"""Images and boxes: sources, the memory-mapped index, regimes, the loader, the built-in sets."""
