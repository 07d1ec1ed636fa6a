"""The models: backbones, pyramids, heads, weights, freezing, and the COCO numbers."""
