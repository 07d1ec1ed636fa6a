"""The lines that ``train`` prints: a run's scores, and how far they are from a study's record."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rethink_ray.records.types import RungDone
from rethink_ray.spec.hashing import IDENTITY
from rethink_ray.spec.metrics import score_text
from rethink_ray.spec.resolve import ExportedConfig


def train_and_print_rungs(config: ExportedConfig, out: Path, workers: int) -> list[RungDone]:
    """The run's rungs, trained by Ray Train workers; each is printed when it is finished."""
    from rethink_ray.cluster.single import train_on_workers

    def print_rung(rung: RungDone) -> None:
        print(f"{workers} workers finished {rung.length:g}x after {rung.seconds_train:.0f} s")

    return train_on_workers(config.plain(), out, workers, on_rung=print_rung)


def verdict_lines(
    config: ExportedConfig, rungs: Sequence[RungDone], *, exact: bool
) -> Iterator[str]:
    """Scores of every rung; the last rung's beside the study's, where the file names them.

    Args:
        config: the run.
        rungs: its rungs, shortest first.
        exact: whether the same bits are expected (one process, as in the study).
    """
    for rung in rungs:
        for name, value in sorted(rung.metrics.items()):
            if name.endswith(f"/{config.objective.metric}"):
                yield f"{rung.length:g}x {name} {score_text(name, value, decimals=4)}"
    last = rungs[-1].metrics
    for name, expected in config.expected.items():
        if name not in last:
            continue
        verdict = _verdict(config.identity, last[name] - expected, exact=exact)
        yield f"the study had {name} {expected:.4f}: {verdict}"


def _verdict(identity: int, difference: float, *, exact: bool) -> str:
    """A difference to a recorded number in words; under another identity it proves nothing."""
    if identity != IDENTITY:
        return (
            f"{difference:+.2f} (it was recorded under identity {identity}, and this program's is "
            f"{IDENTITY}: the numbers may differ, and neither is at fault)"
        )
    if not exact:
        return f"{difference:+.2f} (other worker count: not bit for bit)"
    return "reproduced to the last bit" if difference == 0 else f"off by {difference:+.4f}"
