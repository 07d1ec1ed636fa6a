"""Lists the data faults that a study meets, and puts them into sentences."""

from dataclasses import dataclass

from rethink_ray.spec.facts import DataFacts
from rethink_ray.spec.fault_kinds import FAULT_KINDS, FaultShare, describe_kind

SEE_CHECK = "(see rethink-ray data check)"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetFault:
    """A kind of fault in the images of one regime, of all of train, or of a split that scores."""

    kind: str
    split: str
    regime: str | None
    """``None``: the fault concerns the whole split."""
    share: FaultShare

    @property
    def sentence(self) -> str:
        """A sentence, as ``30 % of the boxes of train were dropped (3 of 10): they have ...``."""
        words = describe_kind(self.kind)
        where = f"{self.regime}: " if self.regime else ""
        of = "" if self.regime else f" of {self.split}"
        counts = f"({self.share.count} of {self.share.total})"
        head = f"{where}{self.share.percent} of the {words.unit_words}{of} {words.fate} {counts}"
        return f"{head}: {words.reason} {SEE_CHECK}"

    @property
    def summary(self) -> str:
        """A short sentence, as ``3 of 10 boxes of train were dropped (box_degenerate)``."""
        words = describe_kind(self.kind)
        of = f"regime {self.regime}" if self.regime else self.split
        counts = f"{self.share.count} of {self.share.total} {words.unit_words} of {of}"
        return f"{counts} {words.fate} ({self.kind})"


def list_met_faults(facts: DataFacts) -> tuple[MetFault, ...]:
    """Returns the faults of train, then those of the splits that score.

    A fault that is as frequent in every regime as in all of train is listed once, of train.
    """
    met = [one for kind in _order_kinds(facts) for one in _list_in_training(facts, kind)]
    for split, shares in facts.split_faults.items():
        if split != "train":
            kinds = [kind for kind in _order_kinds(facts) if kind in shares]
            met += [
                MetFault(kind=kind, split=split, regime=None, share=shares[kind]) for kind in kinds
            ]
    return tuple(met)


def say_met_faults(facts: DataFacts) -> str:
    """Returns one line for ``status``, ``run`` and ``plan``; empty if the study meets no fault."""
    met = "; ".join(one.summary for one in list_met_faults(facts))
    return f"{met} {SEE_CHECK}" if met else ""


def _list_in_training(facts: DataFacts, kind: str) -> list[MetFault]:
    """Returns a kind of fault once for all of train if every regime agrees, else by regime."""
    by_regime = {
        regime: shares[kind] for regime, shares in facts.regime_faults.items() if kind in shares
    }
    whole = facts.split_faults.get("train", {}).get(kind)
    is_everywhere = by_regime.keys() == facts.regime_sizes.keys()
    percents = {share.percent for share in by_regime.values()}
    if whole and by_regime and is_everywhere and percents == {whole.percent}:
        return [MetFault(kind=kind, split="train", regime=None, share=whole)]
    return [
        MetFault(kind=kind, split="train", regime=regime, share=share)
        for regime, share in by_regime.items()
    ]


def _order_kinds(facts: DataFacts) -> list[str]:
    """Returns every kind that the facts count, in the order of the table; unknown kinds last."""
    groups = (*facts.split_faults.values(), *facts.regime_faults.values())
    counted = {kind for shares in groups for kind in shares}
    return [*(k for k in FAULT_KINDS if k in counted), *sorted(counted - FAULT_KINDS.keys())]
