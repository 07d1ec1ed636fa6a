"""YAML as plain trees: names are text and unique, and no two keys share one object.

YAML reads ``off`` and ``2020-01-01`` as other types than text, accepts a key twice, and makes two
arms one object by an alias. This file refuses or undoes all of that.
"""

import json
from typing import Any

import yaml

from rethink_ray.spec.errors import Explanation, SpecError, explain, show_value

MERGE = "tag:yaml.org,2002:merge"
MAX_DEPTH = 50
MAX_NODES = 200_000
"""Aliases of aliases can make a billion nodes in ten lines."""
MAX_INTEGER = 2**63 - 1
"""Whole numbers above it fit neither tables nor tensors, and the largest not even a float."""


def parse_yaml(text: str, where: str) -> Any:
    """The tree of ``text``: mappings with text as keys, lists, and plain values.

    Raises:
        SpecError: it is not YAML, or a name appears twice or is no text.
    """
    try:
        tree = yaml.load(text, Loader=_OnceLoader)
    except SpecError as error:
        raise error.within(where) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problems = [getattr(error, name, None) for name in ("problem", "reason")]
        problem = next((words for words in problems if words), "unreadable text")
        shown = str(problem).replace(", but got ", ", not ").rstrip(".")
        raise SpecError(
            Explanation.of(f"{where}{line}", "must be YAML", f"an error: {shown}")
        ) from None
    except RecursionError:
        shown = "too many nested brackets"
        raise SpecError(Explanation.of(where, "must be YAML", shown)) from None
    except ValueError as error:  # 2020-13-45 is a date to YAML, and no date
        remedy = "Put quotes around values that are text."
        shown = f"an error: {error}"
        raise SpecError(Explanation.of(where, "must be YAML", shown, remedy)) from None
    except (AttributeError, KeyError, TypeError, IndexError):  # !!bool x, !!timestamp x
        shown = "a tag that does not fit its value"
        remedy = "Leave tags (!!...) out."
        raise SpecError(Explanation.of(where, "must be YAML", shown, remedy)) from None
    return _Plain(where).copy(tree, "", 0)


def replace_value(text: str, key: str, value: object) -> str:
    """The text with another value at a top-level key; all else, comments included, stays.

    A text without that key comes back as it is.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    for key_node, node in pairs:
        if key_node.value == key:
            old = text[node.start_mark.index : node.end_mark.index]
            after = old[len(old.rstrip()) :]
            written = json.dumps(value, ensure_ascii=False)
            return text[: node.start_mark.index] + written + after + text[node.end_mark.index :]
    return text


class _OnceLoader(yaml.SafeLoader):
    """YAML in which a key that appears twice is an error, not a silent last word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == MERGE:  # a merged key may be overridden
                continue
            key = self.construct_object(key_node, deep=True)
            spelt = key if isinstance(key, str | int | float) else repr(key)
            if spelt in seen:
                line = key_node.start_mark.line + 1
                raise SpecError(explain(f"line {line}", "names must be unique", key, "Rename one."))
            seen.add(spelt)
        return super().construct_mapping(node, deep)


class _Plain:
    """Copies a tree so that no node is shared, and checks its names."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._num_nodes = 0

    def copy(self, tree: Any, path: str, depth: int) -> Any:
        self._num_nodes += 1
        if depth > MAX_DEPTH or self._num_nodes > MAX_NODES:
            shown = "an alias inside itself, or endless nesting"
            raise SpecError(Explanation.of(self._where_is(path), "must end somewhere", shown))
        if isinstance(tree, dict):
            return {
                self._name(k, path): self.copy(v, f"{path}.{k}", depth + 1) for k, v in tree.items()
            }
        if isinstance(tree, list):
            return [self.copy(inner, path, depth + 1) for inner in tree]
        if isinstance(tree, str) and not _is_whole_text(tree):
            shown, remedy = ascii(tree[:100]), "Take out what is no character."
            raise SpecError(Explanation.of(self._where_is(path), "must be text", shown, remedy))
        if isinstance(tree, int) and abs(tree) > MAX_INTEGER:
            shown = f"one of {tree.bit_length():,} bits"
            must = f"whole numbers must be at most {MAX_INTEGER:,}"
            raise SpecError(Explanation.of(self._where_is(path), must, shown))
        return tree if isinstance(tree, str | int | float | None) else str(tree)

    def _name(self, key: Any, path: str) -> str:
        if isinstance(key, str) and _is_whole_text(key):
            return key
        if isinstance(key, str):
            shown = ascii(key[:100])
            raise SpecError(Explanation.of(self._where_is(path), "names must be text", shown))
        if isinstance(key, int | float) and not isinstance(key, bool):
            return str(key)
        remedy = f"YAML does not take it for text: quote it, '{key}'."
        if isinstance(key, bool):
            words = "on, yes and true" if key else "off, no and false"
            remedy = f"YAML reads {words} as {show_value(key)}: put the name in quotes."
        raise SpecError(explain(self._where_is(path), "names must be text", key, remedy))

    def _where_is(self, path: str) -> str:
        return f"{self._where}: {path[1:]}" if path else self._where


def _is_whole_text(text: str) -> bool:
    """Whether no file, path or message chokes on the text: on a NUL, or on half a character."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
