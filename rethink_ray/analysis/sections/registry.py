"""The optional sections, in reading order: the only file that imports one.

To add a section, write its file and name it here. The terminal, the Markdown, the page and
``findings.json`` then all show it.
"""

from rethink_ray.analysis.sections.assets import ASSETS_USED
from rethink_ray.analysis.sections.class_precision import CLASS_PRECISION
from rethink_ray.analysis.sections.confusion import CONFUSION
from rethink_ray.analysis.sections.costs import CELL_COSTS
from rethink_ray.analysis.sections.data_faults import DATA_FAULTS
from rethink_ray.analysis.sections.drift import DRIFT
from rethink_ray.analysis.sections.equal_hours import EQUAL_HOURS
from rethink_ray.analysis.sections.error_kinds import ERROR_COSTS
from rethink_ray.analysis.sections.halving_cost import HALVING_COST
from rethink_ray.analysis.sections.importance import IMPORTANCE
from rethink_ray.analysis.sections.label_doubts import LABEL_DOUBTS
from rethink_ray.analysis.sections.label_worth import LABEL_WORTH
from rethink_ray.analysis.sections.method_costs import METHOD_COSTS
from rethink_ray.analysis.sections.new_images import NEW_IMAGES
from rethink_ray.analysis.sections.pooled import POOLED
from rethink_ray.analysis.sections.precision_recall import PRECISION_RECALL
from rethink_ray.analysis.sections.prices import PRICES
from rethink_ray.analysis.sections.section import ReportPart, Section
from rethink_ray.analysis.sections.transfer import TRANSFER

__all__ = [
    "DETECTION_SECTIONS",
    "LABEL_DOUBTS",
    "NEW_IMAGES",
    "ON_REQUEST",
    "POOLED",
    "PRECISION_RECALL",
    "PRICES",
    "SECTIONS",
    "sections_in",
]

SECTIONS: tuple[Section, ...] = (
    LABEL_WORTH,
    DRIFT,
    CELL_COSTS,
    METHOD_COSTS,
    PRICES,
    EQUAL_HOURS,
    ASSETS_USED,
    HALVING_COST,
    IMPORTANCE,
    TRANSFER,
    DATA_FAULTS,
)
"""Derived with every study's findings."""
ON_REQUEST: tuple[Section, ...] = (NEW_IMAGES, POOLED)
"""Derived where a reader asks for them; ``NEW_IMAGES`` also where the report can do it quickly."""

DETECTION_SECTIONS: tuple[Section, ...] = (
    CLASS_PRECISION,
    PRECISION_RECALL,
    CONFUSION,
    ERROR_COSTS,
    LABEL_DOUBTS,
)
"""Derived for the report, from the boxes that replicates kept (``SectionInput.boxes``)."""


def sections_in(part: ReportPart) -> tuple[Section, ...]:
    """The sections of one part of the report, in reading order."""
    return tuple(section for section in SECTIONS if section.part == part)
