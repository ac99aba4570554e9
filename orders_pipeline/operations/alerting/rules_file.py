"""Read ORDERS_ALERTS_FILE: YAML, checked whole. What is wrong is one sentence with its lines.

Every value is read as text: YAML itself would make a number of 22:00 and a truth value of `on`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from orders_pipeline.database.engine import Database
from orders_pipeline.model.untrusted_text import bounded_text
from orders_pipeline.operations.alerting.rows import keep_good_rules, last_good_rules, note_rules_problem
from orders_pipeline.operations.alerting.rules import AlertRules

LARGEST_FILE_BYTES = 64 * 1024
PROBLEMS_SHOWN = 3
_DEEPEST, _MOST_VALUES = 8, 5_000


class RulesFileWrong(Exception):
    """The file cannot be used; the message says where, what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class RulesInUse:
    """The rules that hold, and what is wrong with the file, if they are not what it says now."""

    rules: AlertRules
    problem: str | None = None


def rules_in_use(database: Database, file: Path | None, kinds: Collection[str]) -> RulesInUse:
    """The rules of the file; while it is wrong, those that it had when it was last right, or the defaults.

    What was last right is in the store, so that every process has it. `kinds`: the names of every kind of alert.
    """
    if file is None:
        with database.begin() as connection:
            note_rules_problem(connection, None, None)
        return RulesInUse(AlertRules())
    try:
        content = _read(file)
        rules = parse(content, kinds)
    except RulesFileWrong as error:
        with database.begin() as connection:
            before = _last_good(last_good_rules(connection, str(file)), kinds)
            stays = "The defaults are in use." if before is None else "What it said before stays in use."
            problem = f"{file}: {error} {stays}"
            note_rules_problem(connection, str(file), problem)
        return RulesInUse(before or AlertRules(), problem)
    with database.begin() as connection:
        keep_good_rules(connection, str(file), content)
    return RulesInUse(rules)


def parse(content: str, kinds: Collection[str]) -> AlertRules:
    """The rules that this text has. Raises RulesFileWrong."""
    try:
        root = yaml.compose(content, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RulesFileWrong(f"line {line}: it is not YAML ({_shown(error.problem)}). {_WHAT_TO_DO}") from None
    except (yaml.YAMLError, RecursionError):
        raise RulesFileWrong(f"It is not YAML, or nested too deep. {_WHAT_TO_DO}") from None
    values = _Values()
    value = {} if root is None else values.of(root)
    problems = values.problems
    if not problems:
        try:
            rules = AlertRules.model_validate(value)
            problems += _unknown_kinds(rules, kinds, root)
        except ValidationError as error:
            problems += [_problem(each, root) for each in error.errors(include_url=False)]
        else:
            if not problems:
                return rules
    shown = sorted(problems)[:PROBLEMS_SHOWN]
    more = f" and {len(problems) - len(shown)} more" if len(problems) > len(shown) else ""
    said = "; ".join(f"line {line}: {what}" for line, what in shown)
    raise RulesFileWrong(f"{said}{more}. {_WHAT_TO_DO}")


def json_schema(kinds: Collection[str]) -> str:
    """docs/alerts.schema.json, for editors that check YAML against a schema."""
    schema = AlertRules.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["properties"]["kinds"]["propertyNames"] = {"enum": sorted(kinds)}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


_WHAT_TO_DO = "Mend it as docs/alerts.example.yaml shows; it is read again within half a minute."


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise RulesFileWrong(
            f"it cannot be read ({error.strerror}): put it there, or take ORDERS_ALERTS_FILE away."
        ) from None
    if len(content) > LARGEST_FILE_BYTES:
        raise RulesFileWrong(f"it is larger than {LARGEST_FILE_BYTES:,} bytes. {_WHAT_TO_DO}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeError:
        raise RulesFileWrong(f"it is not UTF-8 text. {_WHAT_TO_DO}") from None


def _last_good(content: str | None, kinds: Collection[str]) -> AlertRules | None:
    try:
        return None if content is None else parse(content, kinds)
    except RulesFileWrong:
        # Of another release, which knew other kinds.
        return None


class _Values:
    """What the nodes hold, as mappings, lists and texts; and what forbids to use it."""

    def __init__(self) -> None:
        self.problems: list[tuple[int, str]] = []
        # References (`*name`) make much of little.
        self._left = _MOST_VALUES

    def of(self, node: Node, depth: int = 0) -> Any:
        line = node.start_mark.line + 1
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            self.problems[:] = [(line, "it has too much in it")]
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
                problem = f"{_shown(name)} is there twice" if name else "a name is missing"
                self.problems.append((key.start_mark.line + 1, problem))
            found[name] = self.of(item, depth + 1)
        return found


def _problem(details: Mapping[str, Any], root: Node | None) -> tuple[int, str]:
    """(line, what is wrong there)."""
    location = [part for part in details["loc"] if part != "[key]"]
    name = ".".join(str(part) for part in location) or "the file"
    context = details.get("ctx", {})
    what = {
        "extra_forbidden": "is not known here",
        "missing": "is missing",
        "literal_error": f"must be {context.get('expected', '')}".replace("'", ""),
        "value_error": str(context.get("error", "")),
        "model_type": "must be a list of names with a value each",
        "dict_type": "must be a list of names with a value each",
        "tuple_type": "must be a list, as [slack, email]",
    }.get(details["type"], details["msg"])
    return _line_of(root, location), f"{_shown(name)} {what}" if details["type"] != "value_error" else f"{name}: {what}"


def _unknown_kinds(rules: AlertRules, kinds: Collection[str], root: Node | None) -> list[tuple[int, str]]:
    return [
        (_line_of(root, ["kinds", name]), f"{_shown(name)} is no kind of alert{_did_you_mean(name, kinds)}")
        for name in rules.kinds
        if name not in kinds
    ]


def _did_you_mean(name: str, kinds: Collection[str]) -> str:
    close = difflib.get_close_matches(name, kinds, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _line_of(root: Node | None, location: Sequence[str | int]) -> int:
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


def _shown(text: object) -> str:
    return bounded_text(text) or "it"
