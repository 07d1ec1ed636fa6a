"""Faults of the data that more than one in a hundred images, boxes or masks of a study have."""

from collections.abc import Iterator

from rethink_ray.analysis.read.trials import read_faults_met_in_runs
from rethink_ray.judge.verdicts import Caveat
from rethink_ray.protocol.tables import StudyTables
from rethink_ray.spec.fault_kinds import FaultShare
from rethink_ray.spec.met_faults import MetFault, list_met_faults

FEW_PERCENT = 1
"""A kind of fault is a caveat if more percent than this have it."""


def find_data_caveats(tables: StudyTables) -> Iterator[Caveat]:
    """One for each frequent kind of fault: of a regime, of all of train, or of a scoring split."""
    for met in (*list_met_faults(tables.facts), *_list_met_in_runs(tables)):
        if 100 * met.share.count > FEW_PERCENT * met.share.total:
            key = f"data-faults:{met.regime or met.split}/{met.kind}"
            yield Caveat(key=key, regime=met.regime, text=f"{met.sentence}.")


def _list_met_in_runs(tables: StudyTables) -> Iterator[MetFault]:
    for (regime, kind), count in read_faults_met_in_runs(tables).items():
        num_images = max(count, tables.facts.regime_sizes.get(regime, 0))
        share = FaultShare(count=count, total=num_images)
        yield MetFault(kind=kind, split="train", regime=regime, share=share)
