"""The sentences of ``new`` about a folder."""

from dataclasses import replace

from rethink_ray.drafting.words import keep_largest_regime
from rethink_ray.spec.fault_kinds import FaultShare
from rethink_ray.spec.met_faults import say_met_faults
from tests.analysis.planted import build_facts, build_study


def test_faults_are_told_once_of_train_whatever_regimes_were_considered() -> None:
    """One box of a hundred has no pixels; so do one of fifty in half of the images."""
    regimes = {"all": {"images": "all"}, "half": {"images": "50%"}}
    one = FaultShare(count=1, total=100)
    faults = {"all": {"box_degenerate": one}, "half": {"box_degenerate": replace(one, total=50)}}
    facts = replace(
        build_facts(build_study(regimes=regimes)),
        split_faults={"train": {"box_degenerate": one}},
        regime_faults=faults,
    )
    assert "of regime half" in say_met_faults(facts)
    assert say_met_faults(keep_largest_regime(facts)).startswith("1 of 100 boxes of train were")
