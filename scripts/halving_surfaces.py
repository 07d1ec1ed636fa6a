"""Made-up surfaces for ``benchmark_halving``, whose AP is known for every configuration.

Optima stand still or drift with the length, and the rate may be searched alone or with two others.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from verdicts.surfaces import ARMS, NOISE_SDS, RATES, REGIMES, ArmSurface, draw_surface
from verdicts.surfaces import FAMILIES as PUBLISHED

from rethink_ray.spec.hashing import seed_of
from rethink_ray.spec.space import Parameter

NOISE_SD = (0.2, 1.0)
"""AP between two seeds of one configuration: each surface draws its own, evenly in the log."""
RATE, DECAY, MOMENTUM = "optimizer.lr", "optimizer.weight_decay", "optimizer.momentum"
Params = Mapping[str, float]
"""Dotted path -> sampled number."""


class PlantedSurface(Protocol):
    """Known AP of every configuration at every length."""

    @property
    def searched(self) -> Mapping[str, Parameter]:
        """The search space that it is made for."""

    @property
    def sd(self) -> float:
        """AP between two seeds of one configuration."""

    def true_ap(self, params: Params, length: float) -> float:
        """AP without noise; 0 where the configuration diverges."""

    def best_ap(self, length: float) -> float:
        """The highest true AP at a length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreeValues:
    """The parabola of ``benchmark_search``, whose best rate may fall with the length."""

    seed: int
    drift: float
    """Decades by which the best rate falls while the length triples."""
    searched: ClassVar[Mapping[str, Parameter]] = {
        RATE: Parameter(log_uniform=(0.002, 0.1)),
        DECAY: Parameter(log_uniform=(1e-5, 1e-2)),
        MOMENTUM: Parameter(uniform=(0.8, 0.95)),
    }

    @property
    def sd(self) -> float:
        """Even in the logarithm."""
        low, high = (math.log(sd) for sd in NOISE_SD)
        return math.exp(float(np.random.default_rng(seed_of("sd", self.seed)).uniform(low, high)))

    def true_ap(self, params: Params, length: float) -> float:
        """A parabola in the logarithms of rate and decay, and in the momentum."""
        rate, _, momentum = self._centre()
        off_rate = math.log10(params[RATE] / 0.015) - 0.6 * rate + self.drift * late_of(length)
        off_momentum = (params[MOMENTUM] - 0.88 - 0.05 * momentum) / 0.05
        loss = 10 * off_rate**2 + 3 * self.decades_off(params) ** 2 + 1.5 * off_momentum**2
        return 30.0 + 5.0 * late_of(length) - float(loss)

    def best_ap(self, length: float) -> float:
        """The top of the parabola, which lies inside the ranges."""
        return 30.0 + 5.0 * late_of(length)

    def decades_off(self, params: Params) -> float:
        """How far the weight decay is above the best one, in decades."""
        return math.log10(params[DECAY] / 3e-4) - float(self._centre()[1])

    def _centre(self) -> NDArray[np.float64]:
        return np.random.default_rng(seed_of("surface", self.seed)).uniform(-0.5, 0.5, size=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowStarters(ThreeValues):
    """Strong weight decay ends higher and learns more slowly: short lengths prefer weak decay."""

    def true_ap(self, params: Params, length: float) -> float:
        """The parabola, less what a strong decay lacks at this length."""
        lag = 4.0 * (1.0 + math.tanh(2.0 * self.decades_off(params))) * 2.0 / length
        return ThreeValues.true_ap(self, params, length) - lag

    def best_ap(self, length: float) -> float:
        """The highest point over the decay; rate and momentum stand at their best."""
        off = np.linspace(-2.5, 1.0, 3501)
        loss = 3.0 * off**2 + 4.0 * (1.0 + np.tanh(2.0 * off)) * 2.0 / length
        return ThreeValues.best_ap(self, length) - float(loss.min())


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedArm:
    """One arm of the surfaces for verdicts: published levels and curves, and one searched rate.

    At 12x its best rate may lie below the range: a regret that all schedules share.
    """

    arm: ArmSurface
    searched: ClassVar[Mapping[str, Parameter]] = {RATE: Parameter(log_uniform=RATES)}

    @property
    def sd(self) -> float:
        """Of the arm."""
        return self.arm.sd

    def true_ap(self, params: Params, length: float) -> float:
        """Of the arm; 0 where the rate diverges."""
        return self.arm.true_ap(params[RATE], length)

    def best_ap(self, length: float) -> float:
        """AP at the best rate."""
        return self.arm.best_ap(length)


def late_of(length: float) -> float:
    """0 at 2x and 1 at 6x, in the logarithm."""
    return math.log(length / 2.0) / math.log(3.0)


def draw_published(seed: int, *, drifts: bool) -> PublishedArm:
    """An arm of any family, regime and noise."""
    rng = np.random.default_rng(seed_of("published", seed))
    family, noise = rng.choice(list(PUBLISHED)), rng.choice(list(NOISE_SDS))
    surface = draw_surface(str(family), "quiet" if noise == "quiet" else "noisy", seed)
    arm = surface.arms[str(rng.choice(REGIMES)), str(rng.choice(ARMS))]
    if not drifts:
        arm = replace(arm, drift=0.0)
    return PublishedArm(arm=arm)


FAMILIES: Mapping[str, Callable[[int], PlantedSurface]] = {
    "3 values, still": lambda seed: ThreeValues(seed=seed, drift=0.0),
    "3 values, rate drifts": lambda seed: ThreeValues(seed=seed, drift=0.3),
    "3 values, slow starters": lambda seed: SlowStarters(seed=seed, drift=0.0),
    "rate alone, still": lambda seed: draw_published(seed, drifts=False),
    "rate alone, drifts": lambda seed: draw_published(seed, drifts=True),
}
"""Name -> the surface of a seed."""
