"""Trackers: TensorBoard, MLflow, W&B."""
