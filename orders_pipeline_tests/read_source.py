"""What the source says of itself: the kinds of alerts that it raises and the environment variables that it reads.

Read from the syntax tree, so that a document can be held against all of the code and not against what one test runs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "orders_pipeline"
# The sandbox plays Amazon and the warehouse: nobody deploys it. `alerts` is where alerts are stored.
NOT_THE_PIPELINE = {"sandbox", "migrations", "alerts"}
# In these every name in capitals is a setting; elsewhere only what is asked of the environment is.
SETTINGS_MODULES = {"settings.py", "settings_sources.py", "web_settings.py", "in_transit.py", "secret_files.py"}
# What stands for a value that is known at run time only.
UNKNOWN = "\0"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    path: Path
    tree: ast.Module

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    @cached_property
    def calls(self) -> dict[str, list[ast.Call]]:
        """The calls of functions by their plain names."""
        found: dict[str, list[ast.Call]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found.setdefault(node.func.id, []).append(node)
        return found

    def function_around(self, node: ast.AST) -> Function | None:
        while (parent := self.parents.get(node)) is not None:
            if isinstance(parent, Function):
                return parent
            node = parent
        return None

    def where(self, node: ast.expr) -> str:
        return f"{self.path.relative_to(ROOT)}:{node.lineno} ({ast.unparse(node)})"


@cache
def pipeline_modules() -> list[Module]:
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if not NOT_THE_PIPELINE & set(path.parts)]
    return [Module(path, ast.parse(path.read_text("utf-8"))) for path in paths]


# --- alerts


@cache
def alert_kinds() -> dict[str, str]:
    """The part before the colon of each key that is raised, and where it is raised."""
    modules = pipeline_modules()
    found: dict[str, str] = {}
    for module in modules:
        for call in module.calls.get("raise_alert", []):
            (key,) = [keyword.value for keyword in call.keywords if keyword.arg == "key"]
            for text in _texts(key, module, modules):
                kind = text.partition(":")[0]
                assert UNKNOWN not in kind, f"the kind of the alert cannot be read at {module.where(key)}"
                found[kind] = module.where(key)
    return found


def _texts(value: ast.expr, module: Module, modules: list[Module]) -> list[str]:
    """What the expression may be, with UNKNOWN for what only the run knows."""
    match value:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            each = [_texts(part, module, modules) for part in parts]
            return ["".join(choice) for choice in product(*each)]
        case ast.FormattedValue(value=inner):
            return _texts(inner, module, modules)
        case ast.IfExp(body=body, orelse=other):
            return [*_texts(body, module, modules), *_texts(other, module, modules)]
        case ast.GeneratorExp(elt=element):
            return _texts(element, module, modules)
        case ast.Name(id=name):
            return _named_texts(name, value, module, modules) or [UNKNOWN]
        case _:
            return [UNKNOWN]


def _named_texts(name: str, at: ast.expr, module: Module, modules: list[Module]) -> list[str]:
    function = module.function_around(at)
    if function is not None:
        if assigned := _assigned(name, function):
            return [text for value in assigned for text in _texts(value, module, modules)]
        parameters = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
        if name in {*parameters, *(argument.arg for argument in function.args.kwonlyargs)}:
            return _passed(name, parameters, function.name, module, modules)
    if constants := _assigned(name, module.tree, deep=False):
        return [text for value in constants for text in _texts(value, module, modules)]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == name for alias in node.names):
            there = PACKAGE.parent / Path(*node.module.split(".")).with_suffix(".py")
            for other in modules:
                if other.path == there:
                    return [
                        text
                        for constant in _assigned(name, other.tree, deep=False)
                        for text in _texts(constant, other, modules)
                    ]
    return []


def _assigned(name: str, scope: Function | ast.Module, *, deep: bool = True) -> list[ast.expr]:
    """Every value that is assigned to the name, by itself or as one of several."""
    found: list[ast.expr] = []
    for node in ast.walk(scope) if deep else scope.body:
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            if isinstance(target, ast.Name) and target.id == name:
                found.append(node.value)
            if not isinstance(target, ast.Tuple):
                continue
            for place, part in enumerate(target.elts):
                if isinstance(part, ast.Name) and part.id == name:
                    found.append(node.value.elts[place] if isinstance(node.value, ast.Tuple) else node.value)
    return found


def _passed(name: str, positions: list[str], function: str, module: Module, modules: list[Module]) -> list[str]:
    """What the function's callers pass for the parameter; a private one's are in its own module."""
    found: list[str] = []
    for caller in [module] if function.startswith("_") else modules:
        for call in caller.calls.get(function, []):
            values = [keyword.value for keyword in call.keywords if keyword.arg == name]
            if name in positions and positions.index(name) < len(call.args):
                values.append(call.args[positions.index(name)])
            found += [text for value in values for text in _texts(value, caller, modules)]
    return found


# --- settings


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
