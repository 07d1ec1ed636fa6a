"""The files of weights that a study names: the ids of its trials cover their content."""

from rethink_ray.spec.reach import reachable_recipes
from rethink_ray.spec.resolve import base_recipe, cells_of, space_of
from rethink_ray.spec.study import Study, TeacherFile

INIT_PATHS = ("init.source", "init.weights")


def weight_files_of(study: Study, where: str) -> dict[str, str]:
    """Path, as the study spells it, -> the key that names it first, for errors.

    They are the files of ``init.source: file``, for every recipe that the search can reach, and
    those of teachers.
    """
    keys: dict[str, str] = {}
    for cell in cells_of(study):
        for recipe in reachable_recipes(
            base_recipe(study, cell), space_of(study, cell), INIT_PATHS
        ):
            if recipe.init.source == "file" and recipe.init.weights:
                keys.setdefault(recipe.init.weights, f"{where}: {cell.name}: init.weights")
        teacher = study.arms[cell.arm].teacher
        if isinstance(teacher, TeacherFile):
            keys.setdefault(teacher.file, f"{where}: arms.{cell.arm}.teacher.file")
    return keys
