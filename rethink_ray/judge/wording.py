"""Numbers and names as sentences spell them: ``+3.8 AP [+1.2, +6.4]``, ``12x``, ``2 h 05 min``."""

from collections.abc import Sequence

from rethink_ray.judge.statistics import Estimate
from rethink_ray.protocol.cell_rules import num_searches
from rethink_ray.spec.claim import as_text
from rethink_ray.spec.number_text import say_number
from rethink_ray.spec.study import Study

METRIC_NAMES = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_s": "AP (small)",
    "ap_m": "AP (medium)",
    "ap_l": "AP (large)",
    "mask_ap": "mask AP",
    "mask_ap50": "mask AP50",
    "mask_ap75": "mask AP75",
    "mask_ap_s": "mask AP (small)",
    "mask_ap_m": "mask AP (medium)",
    "mask_ap_l": "mask AP (large)",
    "keypoint_ap": "keypoint AP",
    "keypoint_ap50": "keypoint AP50",
    "keypoint_ap75": "keypoint AP75",
    "keypoint_ap_m": "keypoint AP (medium)",
    "keypoint_ap_l": "keypoint AP (large)",
    "voc_ap50": "VOC AP50",
    "voc07_ap50": "VOC 2007 AP50",
}

UNITS = {
    "backbone_drift": "drift",
    "step_ms": "ms an update",
    "step_gflops": "GFLOP an update",
    "trained_share": "% of the parameters",
    "peak_gb": "GB at the peak",
    "pretrain_hours": "hours of pre-training",
}
"""Metric -> its unit. ``pretrain_hours``: slot hours of all assets that a replicate uses."""


def metric_name(study: Study) -> str:
    """The name of the objective in tables and on axes; scores are points from 0 to 100."""
    return METRIC_NAMES[study.objective.metric]


def unit_name(study: Study) -> str:
    """What one value of an arm comes from: ``searches`` if they are repeated, or ``replicates``."""
    return "searches" if num_searches(study) > 1 else "replicates"


def signed(value: float) -> str:
    """One decimal and a sign; two decimals where one would hide the sign."""
    if 0.0 < abs(value) < 0.05:
        return f"{value:+.2f}"
    return f"{value:+.1f}"


def span(interval: tuple[float, float] | None, *, sign: bool = True) -> str:
    """``[+1.2, +6.4]``; empty where there is no interval."""
    if interval is None:
        return ""
    low, high = (signed(v) if sign else f"{v:.1f}" for v in interval)
    return f"[{low}, {high}]"


def times(length: float) -> str:
    """A schedule length: ``12x``."""
    return f"{length:g}x"


def percent(share: float) -> str:
    """A share of one as a whole percentage."""
    return f"{100 * share:.0f} %"


def duration(seconds: float) -> str:
    """Wall time, to two units: ``41 s``, ``7 min 30 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def counted(num: int, one: str, many: str = "") -> str:
    """``1 replicate``, ``3 replicates``."""
    return f"{num} {one if num == 1 else many or one + 's'}"


def amount_text(metric: str, value: float) -> str:
    """A score with one decimal, anything else with three digits or to a whole number."""
    if metric not in UNITS:
        return f"{value:.1f}"
    return say_number(value)


def signed_text(metric: str, value: float) -> str:
    """The same with its sign."""
    if metric not in UNITS:
        return signed(value)
    return f"{value:+.0f}" if abs(value) >= 1000.0 else f"{value:+.3g}"


def span_text(metric: str, interval: tuple[float, float] | None) -> str:
    """``[+0.012, +0.034]``; empty where there is no interval."""
    if interval is None:
        return ""
    return f"[{signed_text(metric, interval[0])}, {signed_text(metric, interval[1])}]"


def mean_text(mean: Estimate, unit: str = "") -> str:
    """``36.3 AP [33.7, 38.9]``: a mean and its 95 % interval, if it has one."""
    value = f"{mean.value:.1f} {unit}".rstrip()
    return f"{value} {span(mean.interval(), sign=False)}".rstrip()


def value_text(value: object) -> str:
    """A tuned value: a float to 4 digits, anything else as a study file says it."""
    return f"{value:.4g}" if isinstance(value, float) else as_text(value)
