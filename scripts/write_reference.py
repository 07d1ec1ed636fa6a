"""Writes docs/reference.md and docs/study.schema.json from the specifications of rethink_ray.spec.

    python scripts/write_reference.py

Descriptions are the docstrings below the fields: change a sentence there, then run this again.
"""

import fnmatch
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from reference_words import MEASURES, SOURCES, as_yaml, join_words, split_source, type_words

from rethink_ray.spec.metrics import MEASURED
from rethink_ray.spec.networks import EFFICIENT, OWN_NORM, RESIDUAL
from rethink_ray.spec.own_families import FOR_ANY, SHIPPED_FAMILIES
from rethink_ray.spec.recipe import AUGMENT_LEVELS, Recipe
from rethink_ray.spec.recipes import RECIPES, build_recipe
from rethink_ray.spec.settings import LENGTH_PATH, flatten
from rethink_ray.spec.study import Metric, Study

Schema = Mapping[str, Any]

NAMES = {
    "data.dataset": "SPLIT",
    "regimes": "NAME",
    "arms": "NAME",
    "arms.NAME.search": "PATH",
    "search": "PATH",
    "claims": "NAME",
}
"""Keys whose sub-keys the study names itself -> what stands for such a name here."""
SHARED = (
    *("arms.NAME.search.PATH", "budget.searches"),
    *("schedule.decay", "data.upstream_detection"),
)
"""Groups that are described elsewhere on the page."""
REPEATED = {"direct.optimizer": "optimizer", "direct.augment": "augment"}
"""Groups of the recipe that stand in it twice -> the path where they are described."""
RECIPE_GROUPS = ("tiny_*", "*_r50", "*_r50_v1", "*_r50_v2")
"""Patterns of names of base recipes of our families; each of these recipes fits one."""
TWO_STAGE_GROUPS = ("tiny_*_rcnn", "*_rcnn_r50", "*_rcnn_r50_v1", "*_rcnn_r50_v2")
"""Patterns of their two-stage recipes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of the study file or path of the recipe, as an item of a list."""

    path: str
    anchor: str
    type: str
    default: str
    """``required``, ``default `0.5` `` or nothing."""
    description: str
    by_recipe: str = ""
    """Defaults of base recipes that differ, in words."""

    def lines(self) -> Iterator[str]:
        """The key as an item of a list."""
        head = " · ".join(part for part in (self.type, self.default) if part)
        sentence, source = split_source(self.description)
        yield f'- <a id="{self.anchor}"></a>**`{self.path}`** · {head}'
        yield ""
        yield f"    {sentence}" + (f" *Source: {source}.*" if source else "")
        if self.by_recipe:
            yield f"    Base recipes: {self.by_recipe}."
        yield ""


def reference_text() -> str:
    """All of docs/reference.md."""
    parts = (*_head(), *_study_lines(), *_recipe_lines(), *_base_recipe_lines())
    lines = (*parts, *_level_lines(), *_plugin_lines(), *_metric_lines())
    text = "\n".join(lines)
    return "\n".join((text, *_source_lines(text))).rstrip() + "\n"


def _head() -> Iterator[str]:
    yield "# Reference"
    yield ""
    yield "<!-- Written by scripts/write_reference.py from the docstrings in rethink_ray/spec. -->"
    yield ""
    yield (
        "Every key of a study file and every path of a recipe: its type, its default, its meaning, "
        "and the paper or library that fixed the default. The [guide](guide.md) explains by task; "
        "`rethink-ray schema` prints the same descriptions as a [JSON Schema](study.schema.json) "
        "for editors."
    )
    yield ""


def _study_lines() -> Iterator[str]:
    tree = Study.model_json_schema()
    yield "## The study file"
    yield ""
    yield (
        "One YAML file is one study. Words in capitals stand for names that you choose: "
        "`regimes.NAME.images` is the key `images` of each regime. On the command line "
        "`--set data.root=/data/coco` sets a key by its path."
    )
    yield ""
    yield "### Top level"
    yield ""
    yield from _group(tree, tree["$defs"], "", "study.")
    for path, group in _groups(tree, tree["$defs"], "", SHARED):
        yield f"### `{path}`"
        yield ""
        yield _one_line(group["description"])
        yield ""
        yield from _group(group, tree["$defs"], f"{path}.", "study.")


def _groups(
    group: Schema, defs: Schema, prefix: str, skipped: Sequence[str] = ()
) -> Iterator[tuple[str, Schema]]:
    """Dotted path and schema of every group of keys below this one, depth first."""
    for name, value in group["properties"].items():
        path = f"{prefix}{name}"
        for reference, is_mapping in _references(value):
            inner = f"{path}.{NAMES[path]}" if is_mapping else path
            if inner not in skipped:
                yield inner, defs[reference]
                yield from _groups(defs[reference], defs, f"{inner}.", skipped)


def _references(value: Schema) -> Iterator[tuple[str, bool]]:
    """Names of the groups a value may be, each with whether the study names several of them."""
    for branch in value.get("anyOf", [value]):
        inner = branch.get("additionalProperties")
        for reference, is_mapping in ((branch, False), (inner, True)):
            if isinstance(reference, Mapping) and "$ref" in reference:
                yield reference["$ref"].rpartition("/")[2], is_mapping


def _group(group: Schema, defs: Schema, prefix: str, anchors: str) -> Iterator[str]:
    required = group.get("required", ())
    for name, value in group["properties"].items():
        default = "" if any(_references(value)) and not value.get("anyOf") else _default(value)
        key = Key(
            path=f"{prefix}{name}",
            anchor=f"{anchors}{prefix}{name}",
            type=type_words(value),
            default="required" if name in required else default,
            description=value["description"],
        )
        yield from key.lines()


def _default(value: Schema) -> str:
    return f"default {as_yaml(value['default'])}" if "default" in value else ""


def _recipe_lines() -> Iterator[str]:
    yield "## The recipe"
    yield ""
    yield (
        "Paths of the recipe are set under `settings`, `regimes.NAME.set` and `arms.NAME.set`, and "
        "searched under `search`. A study starts from a [base recipe](#base-recipes); where base "
        "recipes differ from the default, the path says so."
    )
    yield ""
    tree, defaults = Recipe.model_json_schema(), flatten(Recipe())
    plain = {n: v for n, v in tree["properties"].items() if "$ref" not in v}
    yield from _recipe_group("", "Paths without a group.", plain, defaults)
    for path, group in _groups(tree, tree["$defs"], ""):
        plain = {n: v for n, v in group["properties"].items() if "$ref" not in v}
        yield from _recipe_group(path, group["description"], plain, defaults)


def _recipe_group(
    path: str, description: str, properties: Schema, defaults: Mapping[str, Any]
) -> Iterator[str]:
    yield f"### `{path}`" if path else "### Batch and precision"
    yield ""
    yield _one_line(description)
    yield ""
    for name, value in properties.items():
        full = f"{path}.{name}".lstrip(".")
        key = Key(
            path=full,
            anchor=full,
            type=type_words(value),
            default=_default_of(full, value, defaults),
            description=_description(path, name, value),
            by_recipe=_by_recipe(full, defaults[full]) if full in defaults else "",
        )
        yield from key.lines()
    if path == "schedule":
        key = Key(
            path=LENGTH_PATH,
            anchor=LENGTH_PATH,
            type="number above 0",
            default="the longest of `schedule.lengths`",
            description="One length instead of a ladder, in units of 1x. Under `search` it is "
            "sampled like any other parameter.",
        )
        yield from key.lines()


def _default_of(path: str, value: Schema, defaults: Mapping[str, Any]) -> str:
    """The default of a path; of a key in a group that may be null, the key's own."""
    if path in defaults:
        return f"default {as_yaml(defaults[path])}"
    return _default(value) or "required"


def _description(group: str, name: str, value: Schema) -> str:
    if group not in REPEATED:
        return str(value["description"])
    first = REPEATED[group]
    return f"As [`{first}.{name}`](#{first}), in the first stage."


def _by_recipe(path: str, default: Any) -> str:
    """The values that base recipes give a path, where they differ from its default."""
    if path == "detector.family":  # their names say it
        return ""
    groups = _recipes_by_value(path, default)
    return "; ".join(f"{as_yaml(value)} in {names}" for value, names in groups)


def _recipes_by_value(path: str, default: Any) -> list[tuple[Any, str]]:
    """Each other value of a path, and the base recipes that have it, in words."""
    values = {name: flatten(build_recipe(name))[path] for name in RECIPES}
    others: list[Any] = []
    for value in values.values():
        if value != default and value not in others:
            others.append(value)
    return [(v, _recipe_names([n for n in values if values[n] == v])) for v in others]


def _recipe_names(names: list[str]) -> str:
    """Names in words; a whole group of recipes is named by its pattern."""
    words, rest = [], list(names)
    for pattern in (*RECIPE_GROUPS, *TWO_STAGE_GROUPS):
        members = fnmatch.filter(RECIPES, pattern)
        if set(members) <= set(rest):
            words.append(f"every `{pattern}`")
            rest = [name for name in rest if name not in members]
    return join_words([*words, *(f"`{name}`" for name in rest)], "and")


def _base_recipe_lines() -> Iterator[str]:
    yield "## Base recipes"
    yield ""
    yield (
        "`recipe: NAME` names one of these. `tiny_*` recipes end in minutes on two CPU cores, "
        "`*_r50` recipes are He et al. 2018's ResNet-50 with GroupNorm, and `*_r50_v1` and "
        "`*_r50_v2` are torchvision's first and second detectors; the others are detectors of "
        "other code. Each differs from the defaults above in `detector.family` and in these "
        "values."
    )
    yield ""
    groups = [fnmatch.filter(RECIPES, pattern) for pattern in RECIPE_GROUPS]
    others = [name for name in RECIPES if not any(name in group for group in groups)]
    for members in (*groups, others):
        yield f"- {', '.join(f'`{name}`' for name in members)}"
    yield ""
    yield "| path | value | base recipes |"
    yield "|---|---|---|"
    for path, default in flatten(Recipe()).items():
        if path != "detector.family":
            for value, names in _recipes_by_value(path, default):
                yield f"| `{path}` | {as_yaml(value)} | {names} |"
    yield ""


def _level_lines() -> Iterator[str]:
    yield "## Augmentation levels"
    yield ""
    yield "`augment.level` stands for these values (Zoph et al. 2020; [augmentation](augment.md))."
    yield ""
    yield "| level | values |"
    yield "|---|---|"
    for level, values in AUGMENT_LEVELS.items():
        shown = ", ".join(f"`{name}`: {as_yaml(value)}" for name, value in values.items())
        yield f"| `{level}` | {shown} |"
    yield ""


def _plugin_lines() -> Iterator[str]:
    yield "## Backbones and plug-ins"
    yield ""
    yield "`detector.backbone` takes these names ([networks](networks.md) has weights and norms):"
    yield ""
    for names in (RESIDUAL, EFFICIENT, OWN_NORM):
        yield f"- {', '.join(f'`{name}`' for name in names)}"
    yield "- `timm:NAME`: a network of timm (`pip install 'rethink-ray[timm]'`)"
    yield "- `package.module:function`: a function of yours, called as `function(spec)`"
    yield ""
    yield (
        "`spec` is the recipe's `DetectorSpec`: every `detector` path above is an attribute of it, "
        "such as `spec.width`. The function returns a `torch.nn.Module` with:"
    )
    yield ""
    yield "- `stem`, `layer1`, `layer2`, `layer3`, `layer4`: modules that run one after another;"
    yield "  the maps of `layer1` to `layer4` have strides 4, 8, 16 and 32"
    yield "- `channels`: the output channels of `layer1` to `layer4`, four whole numbers"
    yield ""
    yield "`detector.family` takes these names beside ours:"
    yield ""
    for name, axes in SHIPPED_FAMILIES.items():
        keys = ", ".join(f"`{key}`" for key in sorted(axes.reads))
        yield f"- `{name}`, which reads {keys}"
    keys = ", ".join(f"`{key}`" for key in sorted(FOR_ANY))
    yield (
        "- `package.module:build`: a function of yours, called as `build(spec, num_classes)`, "
        f"which may read {keys} ([a detector of your own](networks.md#a-detector-of-your-own))"
    )
    yield ""


def _metric_lines() -> Iterator[str]:
    listed = [name for names in MEASURES for name in names]
    assert sorted(listed) == sorted(MEASURED), set(listed) ^ set(MEASURED)
    yield "## Metrics"
    yield ""
    yield (
        "`objective.metric` and `metric` in claims take these names. Scores are in points "
        f"(0 to 100). An objective can be {join_words([f'`{n}`' for n in get_args(Metric)], 'or')}."
    )
    yield ""
    for names, sentence in MEASURES.items():
        yield f"- {', '.join(f'`{name}`' for name in names)}"
        yield ""
        yield f"    {sentence}"
        yield ""


def _source_lines(text: str) -> Iterator[str]:
    """The titles of the papers that ``text`` names."""
    named = dict.fromkeys(re.findall(r"[A-Z]\w+ (?:et al\.|& \w+) \d{4}", text))
    yield "## Sources"
    yield ""
    for name in sorted(named):
        yield f"- {name}: {SOURCES[name]}."
    yield ""
    yield (
        "Detectron, detectron2, torchvision and timm are libraries; a number with one of these "
        "names is the library's."
    )


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def schema_text() -> str:
    """All of docs/study.schema.json: the JSON Schema of the study file."""
    return json.dumps(Study.model_json_schema(), indent=1) + "\n"


def main() -> None:
    """Write both files."""
    docs = Path(__file__).resolve().parent.parent / "docs"
    (docs / "reference.md").write_text(reference_text(), encoding="utf-8")
    (docs / "study.schema.json").write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
