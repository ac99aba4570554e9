"""Read ORDERS_ALERTS_FILE: YAML, checked whole. What is wrong is one sentence with its lines."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from yaml.nodes import Node

from orders_pipeline.database.engine import Database
from orders_pipeline.operations.alerting.rows import keep_good_rules, last_good_rules, note_rules_problem
from orders_pipeline.operations.alerting.rules import AlertRules
from orders_pipeline.yaml_lines import NotUsable, Values, compose, line_of, read_text, shown

LARGEST_FILE_BYTES = 64 * 1024
PROBLEMS_SHOWN = 3


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
        root = compose(content)
    except NotUsable as error:
        raise RulesFileWrong(f"{error}. {_WHAT_TO_DO}") from None
    values = Values()
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
    told = sorted(problems)[:PROBLEMS_SHOWN]
    more = f" and {len(problems) - len(told)} more" if len(problems) > len(told) else ""
    said = "; ".join(f"line {line}: {what}" for line, what in told)
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
        return read_text(file, LARGEST_FILE_BYTES)
    except NotUsable as error:
        what_to_do = _WHAT_TO_DO if error.is_there else ""
        sentence = f"{error}." if error.is_there else f"{error}: put it there, or take ORDERS_ALERTS_FILE away."
        raise RulesFileWrong(f"{sentence} {what_to_do}".strip()) from None


def _last_good(content: str | None, kinds: Collection[str]) -> AlertRules | None:
    try:
        return None if content is None else parse(content, kinds)
    except RulesFileWrong:
        # Of another release, which knew other kinds.
        return None


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
    return line_of(root, location), f"{shown(name)} {what}" if details["type"] != "value_error" else f"{name}: {what}"


def _unknown_kinds(rules: AlertRules, kinds: Collection[str], root: Node | None) -> list[tuple[int, str]]:
    return [
        (line_of(root, ["kinds", name]), f"{shown(name)} is no kind of alert{_did_you_mean(name, kinds)}")
        for name in rules.kinds
        if name not in kinds
    ]


def _did_you_mean(name: str, kinds: Collection[str]) -> str:
    close = difflib.get_close_matches(name, kinds, n=1)
    return f"; did you mean {close[0]}?" if close else ""
