"""What the source says of itself: the environment variables that it reads.

Read from the syntax tree, so that a document can be held against all of the code and not against what one test runs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "orders_pipeline"
# The sandbox plays Amazon and the warehouse: nobody deploys it.
NOT_THE_PIPELINE = {"sandbox", "migrations"}
# In these every name in capitals is a setting; elsewhere only what is asked of the environment is.
SETTINGS_MODULES = {
    "settings.py", "settings_sources.py", "amazon_settings.py", "web_settings.py", "alert_settings.py", "in_transit.py",
    "secret_files.py", "accounts_file.py", "application_settings.py",
}  # fmt: skip


@dataclass(frozen=True)
class Module:
    path: Path
    tree: ast.Module


@cache
def pipeline_modules() -> list[Module]:
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if not NOT_THE_PIPELINE & set(path.parts)]
    return [Module(path, ast.parse(path.read_text("utf-8"))) for path in paths]


@cache
def environment_variables() -> set[str]:
    """Every variable of the environment or of `.env` that the package reads, by its whole name."""
    found: set[str] = set()
    for module in pipeline_modules():
        if module.path.name in SETTINGS_MODULES and module.path.parent == PACKAGE:
            found |= {name for name in _strings(module.tree) if _is_variable(name)}
        for node in ast.walk(module.tree):
            match node:
                case ast.Call(func=ast.Attribute(value=mapping, attr="get"), args=[ast.Constant(value=str(name)), *_]):
                    pass
                case ast.Subscript(value=mapping, slice=ast.Constant(value=str(name))):
                    pass
                case ast.Call(func=ast.Attribute(value=mapping, attr="getenv"), args=[ast.Constant(value=str(name))]):
                    pass
                case _:
                    continue
            if ast.unparse(mapping) in ("os", "os.environ", "environ"):
                found.add(name)
    return found


def _strings(tree: ast.AST) -> Iterator[str]:
    # A part of an f-string names no variable.
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def _is_variable(text: str) -> bool:
    return "_" in text and text.isupper() and text.replace("_", "").isalnum() and not text.endswith("_")
