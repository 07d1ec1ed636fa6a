"""What the data set turned out to be, as far as a trial's identity and its checks need it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """Measured once per study by ``data``, recorded in ``resolved.json``, read by everyone."""

    fingerprint: str
    """Hash of the annotations of every split the study uses."""
    categories: tuple[str, ...]
    regime_sizes: Mapping[str, int]
    regime_digests: Mapping[str, str]
    """Regime -> hash of its image ids."""
    split_sizes: Mapping[str, int]
    upstream_fingerprint: str
    """Hash of what upstream classifiers are trained on."""
    train_digest: str = ""
    """Hash of the ids of all images that a regime is drawn from; empty in older studies."""
    unlabelled_fingerprint: str = ""
    """Hash of the images that ``data.unlabelled`` names; empty where it names none."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Path, as the study spells it, of each file of weights that runs start from -> hash of its
    content."""
    backbones: Mapping[str, str] = field(default_factory=dict)
    """Backbone from elsewhere (``timm:<name>``, ``package.module:function``) -> its code, as
    ``backbone_code`` names it."""
    has_masks: bool | None = None
    """Whether any training object has a mask; ``None``: an older version did not look."""
    num_keypoints: int | None = None
    """Keypoints that all training objects share; ``None``: an older version did not look."""
    scored_masks: bool | None = None
    """Whether every split that scores has masks."""
    scored_keypoints: int | None = None
    """The fewest keypoints that a split that scores has."""

    num_dropped: Mapping[str, int] = field(default_factory=dict)
    """Split -> its images that ``data.duplicates: drop`` leaves out; only splits that lose some."""

    def as_known_to(self, recorded: "DataFacts") -> "DataFacts":
        """The same without what ``recorded``, by an older version, does not say."""
        return replace(
            self,
            train_digest=self.train_digest if recorded.train_digest else "",
            files={path: found for path, found in self.files.items() if path in recorded.files},
            backbones={
                name: code for name, code in self.backbones.items() if name in recorded.backbones
            },
            has_masks=None if recorded.has_masks is None else self.has_masks,
            num_keypoints=None if recorded.num_keypoints is None else self.num_keypoints,
            scored_masks=None if recorded.scored_masks is None else self.scored_masks,
            scored_keypoints=None if recorded.scored_keypoints is None else self.scored_keypoints,
        )


def dropped_words(facts: DataFacts) -> str:
    """How many images of which split are left out as duplicates; empty if none are."""
    if not facts.num_dropped:
        return ""
    told = ", ".join(f"{num} of {split}" for split, num in facts.num_dropped.items())
    return f"{told} left out: another split shows the same picture (data.duplicates: drop)"
