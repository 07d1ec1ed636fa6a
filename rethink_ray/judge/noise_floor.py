"""How large a difference chance alone makes: the difference between twins.

Twins are two arms with the same settings. A test that does not tell them apart is no proof that
they are equal, so every comparison of two arms carries their difference as a caveat.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

from scipy.special import chdtri

from rethink_ray.judge.arms import find_twins
from rethink_ray.judge.measurements import Measurement
from rethink_ray.judge.questions import ask_twins
from rethink_ray.judge.samples import ScoreSample
from rethink_ray.judge.statistics import MIN_REPLICATES
from rethink_ray.judge.verdicts import Caveat
from rethink_ray.judge.wording import metric_name, signed, span, times, unit_name
from rethink_ray.spec.study import Study

PREFIX = "twins:"
ENOUGH = 5
"""From this many replicates on, the spread between them is estimated well enough."""


def find_twin_caveats(study: Study, samples: Sequence[ScoreSample]) -> Iterator[Caveat]:
    """A caveat for each regime, pair of twins and length at which both have replicates."""
    for regime in study.regimes:
        for arm, first in find_twins(study).items():
            question = ask_twins(study, regime, (first, arm))
            for measured in question.measure(samples, study.margin):
                if measured.effect is not None:
                    yield _caveat(study, regime, (first, arm), measured)


def find_thin_spread(study: Study, samples: Iterable[ScoreSample]) -> Iterator[Caveat]:
    """A caveat if intervals rest on few values: how far their spread may be from the true one."""
    nums = [len(sample.values) for sample in samples]
    num = min((n for n in nums if n >= MIN_REPLICATES), default=ENOUGH)
    if num < ENOUGH:
        low, high = (math.sqrt(chdtri(num - 1, p) / (num - 1)) for p in (0.975, 0.025))
        text = (
            f"the spread over {num} {unit_name(study)} is {low:.2f} to {high:.1f} times the true "
            "spread (95 times in 100), so a single interval may be much too narrow or too wide; on "
            "average over many comparisons, intervals hold what they promise."
        )
        yield Caveat(key="thin-spread", text=text)


def _caveat(study: Study, regime: str, names: tuple[str, str], measured: Measurement) -> Caveat:
    effect, length = measured.effect, measured.comparison.lengths[0]
    assert effect is not None, "both have replicates"
    size = f"{signed(effect.value)} {metric_name(study)} {span(effect.interval())}".rstrip()
    first, arm = names
    return Caveat(
        key=f"{PREFIX}{regime}/{first}={arm}@{times(length)}",
        regime=regime,
        between_arms_at=length,
        text=(
            f"{first} and {arm}, one contender under two names, differ by {size} on {regime} at "
            f"{times(length)} by chance: distrust differences of that size."
        ),
    )
