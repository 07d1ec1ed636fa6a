"""The tables of a study directory: from its views, or from the log where the views are too old."""

from dataclasses import replace

from rethink_ray.protocol.cell_rules import has_looks
from rethink_ray.protocol.tables import StudyTables, build_tables
from rethink_ray.records.directory import StudyDirectory
from rethink_ray.records.views import read_views


def read_tables(directory: StudyDirectory) -> StudyTables:
    """The tables of a study, as its log is now. Writes nothing.

    Raises:
        RecordError: the log is damaged or gone.
    """
    study, facts, claims = directory.study, directory.facts, directory.claims_digest
    views = read_views(directory)
    if views is None:
        return replace(build_tables(study, directory.load_state(), facts), declared_claims=claims)
    looks = directory.load_state().looks_taken if has_looks(study) else ()
    return StudyTables(study=study, facts=facts, declared_claims=claims, looks=looks, **views)
