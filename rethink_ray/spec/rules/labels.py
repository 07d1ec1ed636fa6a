"""What a student can learn from its teacher's labels."""

from rethink_ray.spec.reach import Run
from rethink_ray.spec.recipe import WITH_KEYPOINTS
from rethink_ray.spec.rules.rule import Rule

LABEL_RULES: tuple[Rule[Run], ...] = (
    Rule(
        key="labels.file",
        reads=("labels.kind",),
        broken=lambda run: run.recipe.labels.kind == "imported" and not run.recipe.labels.file,
        must="must name the file of detections where labels.kind is imported",
        remedy="Write the path of a JSON list of {{image_id, category_id, bbox, score}}.",
    ),
    Rule(
        key="labels.file",
        reads=("labels.kind",),
        broken=lambda run: bool(run.recipe.labels.file) and run.recipe.labels.kind != "imported",
        must="must be left out where labels.kind is {labels.kind}",
        remedy="Or set labels.kind: imported.",
    ),
    Rule(
        key="labels.start",
        reads=("labels.kind",),
        broken=lambda run: (
            run.recipe.labels.kind == "continued" and run.recipe.labels.start != "teacher"
        ),
        must="must be teacher where the teacher is continued",
        remedy="Or take labels.kind: human, which starts from init.",
    ),
    Rule(
        key="detector.family",
        reads=("labels.kind",),
        broken=lambda run: (
            run.recipe.labels.has_pseudo and run.recipe.detector.family in WITH_KEYPOINTS
        ),
        must="must be without keypoints: pseudo labels have none",
        remedy="Self-train a family of boxes or masks.",
    ),
    Rule(
        key="labels.threshold",
        reads=("labels.kind", "detector.score_threshold"),
        broken=lambda run: (
            run.recipe.labels.kind == "self_training"
            and run.recipe.labels.threshold < run.recipe.detector.score_threshold
        ),
        must="must be at least detector.score_threshold = {detector.score_threshold:g}",
        remedy="Lower detector.score_threshold to see more of the teacher's detections.",
    ),
)
