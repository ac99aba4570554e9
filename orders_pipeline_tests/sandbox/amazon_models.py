"""Amazon's own model files, read for validation: never copied into the project."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator, Draft7Validator, FormatChecker

REPOSITORY = Path(__file__).resolve().parents[2]


def models_folder() -> Path:
    """`AMAZON_MODELS_DIR`, or the shared folder beside the repository. Without it: skipped, but an error in CI."""
    folder = Path(os.environ.get("AMAZON_MODELS_DIR", REPOSITORY.parent / "shared" / "amazon-models"))
    if not (folder / "orders_2026-01-01.json").is_file():
        reason = f"Amazon's model files are not in {folder}: set AMAZON_MODELS_DIR to a copy of them"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}. In CI the contract tests must run.")
        pytest.skip(reason)
    return folder


@cache
def _model(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def closed(schema: Any) -> Any:
    """The same schema, but a field that the model does not know is an error: ours must not invent any."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {name: closed(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "allOf" not in schema:
        copy.setdefault("additionalProperties", False)
    return copy


def problems(model: str, definition: str, body: Any) -> list[str]:
    """What is wrong with `body` as this definition of this model; empty: nothing."""
    errors = _validator(models_folder(), model, definition).iter_errors(body)
    return [f"{error.json_path}: {error.message}" for error in errors]


@cache
def _validator(folder: Path, model: str, definition: str) -> Draft4Validator:
    definitions = _model(folder, model)["definitions"]
    # EventFilter is an allOf of open parts; closing each part would refuse the fields of the others.
    opened = {"EventFilter", "AggregationFilter", "MarketplaceFilter", "OrderChangeTypeFilter", "TrackingFilter"}
    schema = {
        "$ref": f"#/definitions/{definition}",
        "definitions": {name: one if name in opened else closed(one) for name, one in definitions.items()},
    }
    return Draft4Validator(schema, format_checker=FormatChecker())


def notification_problems(name: str, body: Any) -> list[str]:
    errors = _notification_validator(models_folder(), name).iter_errors(body)
    return [f"{error.json_path}: {error.message}" for error in errors]


@cache
def _notification_validator(folder: Path, name: str) -> Draft7Validator:
    return Draft7Validator(closed(_model(folder, f"notifications/{name}.json")))


def notification_example(name: str) -> dict[str, Any]:
    return _model(models_folder(), f"notifications/{name}.json")["examples"][0]


def usage_plans(model: str) -> dict[str, tuple[float, int]]:
    """operation → (rate, burst), out of the tables in the model's descriptions."""
    plans: dict[str, tuple[float, int]] = {}
    for operations in _model(models_folder(), model)["paths"].values():
        for operation in operations.values():
            if not isinstance(operation, dict) or "operationId" not in operation:
                continue
            rows = [line.strip("| ").split("|") for line in operation["description"].splitlines() if "|" in line]
            numbers = [row for row in rows if len(row) == 2 and row[0].strip().replace(".", "", 1).isdigit()]
            if numbers:
                plans[operation["operationId"]] = (float(numbers[0][0]), int(numbers[0][1]))
    return plans
