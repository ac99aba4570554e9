"""Amazon's models as a judge of what we send: path, parameters and body of every request."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from jsonschema import Draft4Validator, FormatChecker

from orders_pipeline_tests.channels.amazon.canned import Asked
from orders_pipeline_tests.sandbox.amazon_models import closed, models_folder

MODELS = (
    "orders_2026-01-01", "ordersV0", "tokens_2021-03-01", "notifications", "sellers", "reports_2021-06-30",
    "application_2023-11-30",
)  # fmt: skip


@cache
def _model(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def operations() -> dict[str, tuple[str, str, str, dict[str, Any]]]:
    """`model:operationId` → model, method, path, operation."""
    found: dict[str, tuple[str, str, str, dict[str, Any]]] = {}
    for name in MODELS:
        for path, item in _model(models_folder(), name)["paths"].items():
            shared = item.get("parameters", [])
            for method, operation in item.items():
                if isinstance(operation, dict) and "operationId" in operation:
                    merged = {**operation, "parameters": [*shared, *operation.get("parameters", [])]}
                    found[f"{name}:{operation['operationId']}"] = (name, method.upper(), path, merged)
    return found


def objections(asked: Asked) -> list[str]:
    """Everything that Amazon's model says against this request; empty: nothing."""
    for name, method, path, operation in operations().values():
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))
        match = re.fullmatch(pattern, asked.path)
        if match is None or method != asked.method:
            continue
        given = {"path": {key: unquote(value) for key, value in match.groupdict().items()}, "query": asked.query}
        return [*_parameters(name, operation, given), *_body(name, operation, asked.body)]
    return [f"no operation of Amazon's is {asked.method} {asked.path}"]


def examples(operation: str) -> list[dict[str, Any]]:
    """Every example answer with status 200 that the model of this operation has, once each."""
    name, _, _, found = operations()[operation]
    answer = found["responses"]["200"]
    bodies = list(answer.get("examples", {}).values())
    bodies += [one["response"] for one in answer.get("x-amzn-api-sandbox", {}).get("static", [])]
    resolved = [one for one in bodies if isinstance(one, dict) and one]
    assert resolved, f"{operation} of {name} has no example"
    return list({json.dumps(one, sort_keys=True): one for one in resolved}.values())


def _parameters(name: str, operation: dict[str, Any], given: dict[str, dict[str, str]]) -> list[str]:
    known = {(one["in"], one["name"]): one for one in (_resolved(name, one) for one in operation["parameters"])}
    problems = [
        f"{where} parameter {key} does not exist"
        for where in given
        for key in given[where]
        if (where, key) not in known
    ]
    for (where, key), parameter in known.items():
        if where not in given:
            continue
        if key not in given[where]:
            problems += [f"{where} parameter {key} is missing"] if parameter.get("required") else []
            continue
        value = given[where][key]
        schema = {
            part: parameter[part] for part in parameter if part not in ("in", "name", "required", "collectionFormat")
        }
        # Swagger 2.0 writes an array as comma-separated text where no other format is named.
        instance: Any = value.split(",") if parameter["type"] == "array" else value
        if parameter["type"] == "integer":
            instance = int(value)
        problems += [f"{key}: {error.message}" for error in _validator(name, schema).iter_errors(instance)]
    return problems


def _body(name: str, operation: dict[str, Any], body: Any) -> list[str]:
    parameter = next((one for one in operation["parameters"] if one.get("in") == "body"), None)
    if parameter is None:
        return ["a body is sent where none is expected"] if body is not None else []
    if body is None:
        return ["the body is missing"] if parameter.get("required") else []
    return [f"{error.json_path}: {error.message}" for error in _validator(name, parameter["schema"]).iter_errors(body)]


def _resolved(name: str, parameter: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in parameter:
        return parameter
    return _model(models_folder(), name)["parameters"][parameter["$ref"].rsplit("/", 1)[-1]]


def _validator(name: str, schema: dict[str, Any]) -> Draft4Validator:
    # EventFilter is an allOf of open parts; closing each part would refuse the fields of the others.
    opened = {"EventFilter", "AggregationFilter", "MarketplaceFilter", "OrderChangeTypeFilter", "TrackingFilter"}
    definitions = {
        key: one if key in opened else closed(one) for key, one in _model(models_folder(), name)["definitions"].items()
    }
    return Draft4Validator({**schema, "definitions": definitions}, format_checker=FormatChecker())
