"""Whether intervals cover the choice of the training images that a regime holds."""

from collections.abc import Iterator

from rethink_ray.judge.verdicts import Caveat
from rethink_ray.protocol.cell_rules import redraws_images
from rethink_ray.protocol.tables import StudyTables
from rethink_ray.spec.draws import num_drawable, redraws


def find_draw_caveats(tables: StudyTables) -> Iterator[Caveat]:
    """One for each regime that leaves images out, and for each that could not be drawn again."""
    study, facts = tables.study, tables.facts
    varies = redraws_images(study)
    available = num_drawable(study, facts) if facts.split_sizes.get("train") else 0
    for regime, size in facts.regime_sizes.items():
        if regime not in study.regimes or not size or not available:
            continue
        if size < available and redraws(study, facts, regime):
            text = (
                f"{regime}: each replicate trained on another draw of {size} of {available} "
                f"training images, the same draw in all arms, and intervals cover the choice of "
                f"images; the search saw one draw. Two draws share about {size / available:.0%} of "
                f"their images; entirely new ones would differ more."
            )
            yield Caveat(key=f"redrawn:{regime}", regime=regime, text=text)
        elif size < available:
            text = (
                f"{regime}: every run trained on the same {size} of {available} training images; "
                f"intervals do not cover the choice of these images (with replicate: "
                f"{{vary: [seed, subset]}} they do)."
            )
            yield Caveat(key=f"one-draw:{regime}", regime=regime, text=text)
        elif varies:
            text = (
                f"{regime}: there is one draw of all images, so its replicates vary by seed only."
            )
            yield Caveat(key=f"one-draw:{regime}", regime=regime, text=text)
