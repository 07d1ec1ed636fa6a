"""The average of the weights over the updates, which a run scores in place of its last weights."""

from rethink_ray.spec.model import PositiveFloat, Spec


class EmaSpec(Spec):
    """An exponential moving average of the trained weights (EMA).

    The run scores, exports and hands on the average; the live weights train on as without it. An
    update moves the average by (1 - d) towards the live weights, with d = 0.5 ** (1 /
    (``half_life`` x ``schedule.unit``)). Among the first updates d is at most (1 + n) / (10 + n)
    for update n, so that the start is soon forgotten. Statistics of batch norm are the live
    network's, not averaged. Source: tensorflow/tensorflow, python/training/moving_averages.py (the
    bound of d); google/automl, efficientdet/det_model_fn.py (detectors scored so).
    """

    half_life: PositiveFloat = 0.1
    """After this time weights count half in the average, in units of 1x and counted in updates: a
    longer ladder or another batch does not change it. Source: ours (0.1 of 1x is inside the last
    decay of ``before_end``)."""
