"""Rows by hand: samples of a study's arms, without the study's records."""

from collections.abc import Mapping, Sequence

from rethink_ray.judge.samples import ScoreSample


def build_sample(
    arm: str, length: float, values: Sequence[float], regime: str = "full"
) -> ScoreSample:
    """The replicates of one arm at one length; its configuration is the same at all lengths."""
    labels = {"arm": arm, "regime": regime, "metric": "ap", "schedule": f"{length:g}x"}
    mean = sum(values) / len(values) if values else None
    return ScoreSample(
        labels={column: frozenset({text}) for column, text in labels.items()},
        images=400,
        length=length,
        values=dict(enumerate(values)),
        evidence=tuple(f"{arm}-{seed}" for seed in range(len(values))),
        configuration=f"{regime}/{arm}",
        merit=mean,
    )


def build_samples(
    rows: Mapping[tuple[str, float], Sequence[float]], regime: str = "full"
) -> list[ScoreSample]:
    """Samples from (arm, length) -> values."""
    return [build_sample(arm, length, v, regime) for (arm, length), v in rows.items()]
