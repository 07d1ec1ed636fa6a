"""Lines about a study that was cut: the hours after which each of its cells would be ready."""

from collections.abc import Iterator

from rethink_ray.commands.hours import describe_hours, describe_time
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.run_progress import read_progress
from rethink_ray.records.state import StudyState
from rethink_ray.search.hours import Outlook, forecast
from rethink_ray.search.measured_paces import PaceMeter


def more_hours_lines(directory: StudyDirectory, state: StudyState) -> Iterator[str]:
    """The hours to the end, and after how many each missing cell has all it needs."""
    paces = PaceMeter(directory.study, directory.facts).paces(state)
    if not state.rungs:
        yield "how many hours that takes is not known: no rung is finished yet"
        return
    seen = read_progress(directory)
    slots = 1 if seen is None else seen.slots
    outlook = Outlook(
        study=directory.study, facts=directory.facts, paces=paces, slots=slots, state=state
    )
    expected = forecast(outlook)
    on_slots = "1 slot" if slots == 1 else f"{slots} slots"
    yield f"more hours, to the end: {describe_hours(expected.hours)} on {on_slots}; ready by then:"
    for cell in expected.cells:
        yield f"  after {describe_time(cell.ready_after)}: {cell.cell}"
