"""What the recommended configurations are worth: new runs of each, against a larger study.

A recommendation was chosen because it scored high, so its own scores are too high. Each is trained
again with new seeds. Regret is what these runs lack to the best mean of the reference study.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

from rethink_ray.spec.hashing import seed_of
from verdicts.answers import Place
from verdicts.live_study import LiveAnswer, LiveStudy, Params
from verdicts.live_sweep import resolve
from verdicts.plain_run import PlainRun
from verdicts.program import list_winners
from verdicts.surfaces import ARMS, LENGTHS, REGIMES


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What one recommendation is worth."""

    recommended: Place
    aps: tuple[float, ...]
    """Of its new runs."""


def measure_worth(live: LiveStudy, one: LiveAnswer, kept: Path, num: int) -> dict[str, Worth]:
    """Regime -> what the recommendation there is worth. Runs that are in the file are only read.

    Args:
        live: the study of the same seed.
        one: the answer.
        kept: file of all new runs of the seed.
        num: new runs of each recommendation.
    """
    done = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    worths = {}
    for regime in REGIMES:
        if regime not in one.recommended:
            continue
        recommended, params = one.recommended[regime]
        key = json.dumps([recommended, dict(params)], sort_keys=True)
        if key not in done:
            done[key] = [train_anew(live, recommended, params, n) for n in range(num)]
            kept.write_text(json.dumps(done, indent=1), encoding="utf-8")
        worths[regime] = Worth(recommended=recommended, aps=tuple(done[key]))
    return worths


def train_anew(live: LiveStudy, recommended: Place, params: Params, number: int) -> float:
    """The score of one new run of a configuration, on the split that judges."""
    regime, arm, length = recommended
    seed = seed_of("fresh", live.study.seed, json.dumps([recommended, dict(params)]), number)
    config = resolve(live.view, (regime, arm), params, seed)
    assets = live.directory.assets_dir.resolve()
    with TemporaryDirectory() as folder:
        run = PlainRun(config, length, assets, Path(folder))
        for _ in run.train():
            pass
        return run.score(config.data.report_split)


def find_reference(live: LiveStudy) -> Mapping[str, float]:
    """Regime -> the best mean of the replicates of an arm at a length."""
    replicates = live.study.budget.num_replicates
    winners = list_winners(live.run, dict.fromkeys(live.run.cells, replicates))
    return {
        regime: max(
            fmean(winners[regime, arm, length].scores) for arm in ARMS for length in LENGTHS
        )
        for regime in REGIMES
    }
