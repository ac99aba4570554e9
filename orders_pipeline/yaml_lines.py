"""A YAML file of a person's, read as text, with the line of each of its parts: so what is wrong is said with its line.

Every value is a text: YAML itself would make a number of 22:00 and a truth value of `on`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from orders_pipeline.model.untrusted_text import bounded_text

_DEEPEST, _MOST_VALUES = 8, 5_000


class NotUsable(Exception):
    """The file cannot be read, or is no YAML; the message is a sentence with the line, without a full stop.

    `is_there`: it could be opened.
    """

    def __init__(self, sentence: str, *, is_there: bool = True) -> None:
        super().__init__(sentence)
        self.is_there = is_there


def read_text(file: Path, largest_bytes: int) -> str:
    """The file's text. Raises NotUsable."""
    try:
        with file.open("rb") as opened:
            content = opened.read(largest_bytes + 1)
    except OSError as error:
        raise NotUsable(f"it cannot be read ({error.strerror})", is_there=False) from None
    if len(content) > largest_bytes:
        raise NotUsable(f"it is larger than {largest_bytes:,} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeError:
        raise NotUsable("it is not UTF-8 text") from None


def compose(content: str) -> Node | None:
    """The parts of the text with their lines; None of an empty one. Raises NotUsable."""
    try:
        return yaml.compose(content, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise NotUsable(f"line {line}: it is not YAML ({shown(error.problem)})") from None
    except (yaml.YAMLError, RecursionError):
        raise NotUsable("It is not YAML, or nested too deep") from None


class Values:
    """What the parts hold, as mappings, lists and texts; and what forbids to use it, as (line, what is wrong)."""

    def __init__(self) -> None:
        self.problems: list[tuple[int, str]] = []
        # References (`*name`) make much of little.
        self.are_too_many = False
        self._left = _MOST_VALUES

    def of(self, node: Node, depth: int = 0) -> Any:
        line = node.start_mark.line + 1
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            self.problems[:] = [(line, "it has too much in it")]
            self.are_too_many = True
            return None
        if isinstance(node, ScalarNode):
            return node.value
        if isinstance(node, SequenceNode):
            return [self.of(item, depth + 1) for item in node.value]
        assert isinstance(node, MappingNode)
        found: dict[str, Any] = {}
        for key, item in node.value:
            name = str(key.value) if isinstance(key, ScalarNode) else ""
            if not name or name in found:
                problem = f"{shown(name)} is there twice" if name else "a name is missing"
                self.problems.append((key.start_mark.line + 1, problem))
            found[name] = self.of(item, depth + 1)
        return found


def line_of(root: Node | None, location: Sequence[str | int]) -> int:
    """The line of the deepest part of the file that leads there."""
    node, line = root, 1
    for part in location:
        if isinstance(node, MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == part), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def shown(text: object) -> str:
    return bounded_text(text) or "it"
