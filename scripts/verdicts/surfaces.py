"""Response surfaces with a planted truth: AP by regime, arm, rate and length, before any policy.

They were written, and committed, before any policy was run on them, and have not changed since.
A surface answers for three arms, of which the first is the reference, in two regimes, at every
length up to 6x. One rate is tuned. What is published, and where:

- AP by length from random and from ImageNet weights, full COCO, 10k, 3.5k and 1k images: He et al.
  2018, table 1 and text (R50). At 6x the two are equal, at 2x they are 3.5 AP apart.
- A frozen classifier under FPN, NAS-FPN and a cascade: Vasconcelos et al. 2022, table 1.
- Random, ImageNet and self-training under weak and strong augmentation: Zoph et al. 2020.
- Noise between seeds: full COCO within 0.2 to 0.3 AP (mmdetection issues 3624 and 3496) or 0.5
  (detectron2 issue 457); VOC 62.6, 62.8, 62.3, 62.0 and 80.9, 79.7, 79.9, 80.1, which are sds of
  0.4 and 0.5 (mmdetection issue 2773); small sets of their own 64.0 to 66.9 in four runs and 51.9
  to 55.8 in five, sds of about 1.3 (mmdetection issue 1698, ConfMix issue 23).
- Before the rate drops AP is 6 to 7 points lower (training curves of Li et al. 2021).
- A rate off by a factor of two costs 0.1 to 0.5 points, one off by 0.75 decades 2.5 (Goyal et al.
  2017, ImageNet): 3 to 8 points for each square decade.

Assumed, because we know of no publication: where the best rate lies, that it falls by up to 0.4
decades from 2x to 6x, that too high a rate costs twice what too low a rate costs and diverges 0.8
decades above the best, and that arms with one published length approach it as He's arms do.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator

from rethink_ray.spec.hashing import seed_of

REGIMES = ("full", "small")
ARMS = ("reference", "second", "third")
LENGTHS = (2.0, 4.0, 6.0)
"""The lengths that are asked about."""
RATES = (0.002, 0.2)
"""The range that every policy searches."""
USUAL_RATE = 0.02
"""The published one; the best rates lie around it."""
MARGIN = 0.5
"""Differences below it count as equal."""
Noise = Literal["quiet", "noisy"]
NOISE_SDS: Mapping[Noise, tuple[float, float]] = {"quiet": (0.2, 0.45), "noisy": (0.45, 1.3)}
"""Between seeds, in AP: with plenty of images, and with few."""
Cell = tuple[str, str]
"""(regime, arm)."""
Levels = tuple[float, float, float]
"""AP of the three arms at 6x, each at its best rate."""
CURVE_LENGTHS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
RANDOM_LACKS = (9.1, 4.5, 1.8, 0.7, 0.6, 0.0)
"""What random weights lack at 1x to 6x, in AP, He et al. 2018; 1x continues the line from 2x to 3x
in the logarithm of the length."""
IMAGENET_LACKS = (1.7, 0.8, 0.3, 0.2, 0.2, 0.0)
"""The same from ImageNet weights."""
LACKING_AP = 41.2
"""The AP of He's arms at 6x. Other arms lack in proportion to theirs."""
DROP_GAIN = 6.5
"""AP that the drop of the rate brings, at the best rate and an AP of ``LACKING_AP``."""
DIVERGES_ABOVE = 0.8
"""Decades above the best rate."""
TRUNK_SHARE = 0.5
"""Of the variance between seeds: what all lengths of one run share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Surfaces of one origin: levels in both regimes, and how soon each arm reaches them."""

    levels: tuple[Levels, Levels] | None
    """In the first and the second regime; None: drawn for each surface."""
    patience: tuple[float, float, float] | None = (1.0, 0.0, 0.0)
    """0: an arm approaches its level as ImageNet weights do, 1: as random ones. None: drawn."""
    is_second_small: bool = True
    """The second regime has few images, and so the noise of few; else it is another detector or
    another augmentation."""


FAMILIES: Mapping[str, Family] = {
    # R50, full COCO and 10k; the third arm is ImageNet frozen under FPN: 42.1 against 48.6
    "he_2018": Family(levels=((41.3, 41.1, 34.6), (25.9, 26.0, 22.5))),
    # 3.5k and 1k images (the latter with its own search); frozen loses in proportion
    "he_2018_small": Family(levels=((9.3, 16.0, 13.9), (5.4, 9.9, 8.6))),
    # cascade on NAS-FPN with R50, and NAS-FPN with R101: random, ImageNet, frozen
    "vasconcelos_2022": Family(
        levels=((50.0, 50.3, 51.0), (47.2, 49.0, 49.1)), is_second_small=False
    ),
    # augmentation S4 and S1: random, ImageNet, self-training from random
    "zoph_2020": Family(
        levels=((44.3, 43.3, 45.6), (39.2, 39.5, 40.9)),
        patience=(1.0, 0.0, 1.0),
        is_second_small=False,
    ),
    # nothing to find at any length
    "equal": Family(levels=((40.0, 40.0, 40.0), (20.0, 20.0, 20.0)), patience=(0.0, 0.0, 0.0)),
    # leads with an sd of 1.5 AP; curves cross wherever a patient arm ends above
    "drawn": Family(levels=None, patience=None),
}
DRAWN_LEVELS = (40.0, 20.0)
DRAWN_SD = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """How far an arm is above the reference in one regime, at one length."""

    regime: str
    arm: str
    length: float


QUESTIONS = tuple(
    Question(regime=regime, arm=arm, length=length)
    for regime in REGIMES
    for arm in ARMS[1:]
    for length in LENGTHS
)
"""What every policy is asked: twelve comparisons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSurface:
    """AP of one arm in one regime, by rate and length."""

    level: float
    """AP at 6x and the best rate."""
    patience: float
    """As in ``Family``."""
    best_rate: float
    """Decimal logarithm of the best rate at 2x."""
    drift: float
    """Decades by which the best rate falls from 2x to 6x."""
    steepness: float
    """AP lost one decade below the best rate."""
    sd: float
    """Between seeds."""

    def best_ap(self, length: float) -> float:
        """True AP at the best rate of this length, fully decayed."""
        lacks = (
            self.patience * np.array(RANDOM_LACKS)
            + (1.0 - self.patience) * np.array(IMAGENET_LACKS)
        ) * (self.level / LACKING_AP)
        lack = np.interp(math.log(length), np.log(CURVE_LENGTHS), lacks)
        return max(0.0, self.level - float(lack))

    def decades_off(self, rate: float, length: float) -> float:
        """How far a rate is above the best one of this length, in decades."""
        late = math.log(length / 2.0) / math.log(3.0)
        return math.log10(rate) - self.best_rate + self.drift * late

    def true_ap(self, rate: float, length: float) -> float:
        """True AP of a run of this length, fully decayed; 0 if the rate diverges."""
        off = self.decades_off(rate, length)
        if off > DIVERGES_ABOVE:
            return 0.0
        loss = self.steepness * off**2 * (2.0 if off > 0.0 else 1.0)
        return max(0.0, self.best_ap(length) - loss)

    def ap_before_drop(self, rate: float, time: float) -> float:
        """True AP of a longer run at this time, while its rate is still high.

        What the drop will bring grows with the square root of the rate, as noise of updates does.
        """
        gain = DROP_GAIN * self.level / LACKING_AP
        gain *= math.pow(10.0, 0.5 * self.decades_off(rate, time))
        return max(0.0, self.true_ap(rate, time) - gain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """Everything that can be measured in one planted world, and its truth."""

    family: str
    noise: Noise
    seed: int
    arms: Mapping[Cell, ArmSurface]

    def truth(self, question: Question) -> float:
        """True lead of the arm over the reference, each at its own best rate of this length."""
        arm, reference = (self.arms[question.regime, name] for name in (question.arm, ARMS[0]))
        return arm.best_ap(question.length) - reference.best_ap(question.length)

    @property
    def sds(self) -> Mapping[Cell, float]:
        """Noise between seeds of every cell."""
        return {cell: arm.sd for cell, arm in self.arms.items()}

    def best_ap(self, regime: str) -> float:
        """The highest true AP of a regime: the best arm and length at its best rate."""
        return max(self.arms[regime, arm].best_ap(length) for arm in ARMS for length in LENGTHS)

    def measure(self, cell: Cell, rate: float, run: object, length: float) -> float:
        """Measured AP of a run that ends at this length.

        Args:
            cell: regime and arm.
            rate: the peak rate.
            run: names the run; the same name, the same noise.
            length: of its schedule.
        """
        ap = self.arms[cell].true_ap(rate, length)
        return self._with_noise(cell, ap, run, f"{length:g}")

    def measure_early(self, cell: Cell, rate: float, run: object, time: float) -> float:
        """Measured AP of a longer run at this time, before its rate drops."""
        ap = self.arms[cell].ap_before_drop(rate, time)
        return self._with_noise(cell, ap, run, f"before {time:g}")

    def _with_noise(self, cell: Cell, ap: float, run: object, when: str) -> float:
        if ap == 0.0:
            return 0.0
        seeds = (self.family, self.noise, self.seed, *cell, str(run))
        trunk = np.random.default_rng(seed_of("trunk", *seeds)).normal()
        branch = np.random.default_rng(seed_of("branch", *seeds, when)).normal()
        mixed = math.sqrt(TRUNK_SHARE) * trunk + math.sqrt(1.0 - TRUNK_SHARE) * branch
        return max(0.0, ap + self.arms[cell].sd * float(mixed))


def draw_surface(family: str, noise: Noise, seed: int) -> Surface:
    """The surface of this number in its family: the same levels, other rates, drifts, noise."""
    spec, rng = FAMILIES[family], np.random.default_rng(seed_of("surface", family, seed))
    steepness = math.exp(rng.uniform(math.log(3.0), math.log(8.0)))
    arms = {}
    for index, regime in enumerate(REGIMES):
        levels = spec.levels[index] if spec.levels else _draw_levels(DRAWN_LEVELS[index], rng)
        patience = spec.patience or tuple(float(p) for p in rng.uniform(size=len(ARMS)))
        centre = math.log10(USUAL_RATE) + rng.uniform(-0.4, 0.4)
        sd = NOISE_SDS[noise][index if spec.is_second_small else 0]
        for arm, level, patient in zip(ARMS, levels, patience, strict=True):
            arms[regime, arm] = ArmSurface(
                level=level,
                patience=patient,
                best_rate=float(centre + 0.15 * rng.normal()),
                drift=float(rng.uniform(0.0, 0.4)),
                steepness=steepness,
                sd=sd,
            )
    return Surface(family=family, noise=noise, seed=seed, arms=arms)


def draw_surfaces(num: int) -> Iterator[Surface]:
    """The first ``num`` surfaces of every family, quiet and noisy."""
    for family in FAMILIES:
        for noise in NOISE_SDS:
            for seed in range(num):
                yield draw_surface(family, noise, seed)


def _draw_levels(level: float, rng: Generator) -> Levels:
    second, third = rng.normal(0.0, DRAWN_SD, size=2)
    return (level, level + float(second), level + float(third))
