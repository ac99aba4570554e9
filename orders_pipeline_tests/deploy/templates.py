"""What the CloudFormation templates make: parameters put in, conditions decided, references named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cfnlint.decode import decode

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "aws"
TEMPLATES = sorted(FOLDER.glob("*.yaml"))
NOTHING = object()
ACCOUNT = "123456789012"
_PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NoValue": NOTHING,
}


class Stack:
    """One template with these parameters. What AWS would name is `<resource>` or `<resource>.<attribute>`."""

    def __init__(self, name: str, **parameters: str) -> None:
        template, problems = decode(str(FOLDER / name))
        assert template is not None, problems
        self._template: Any = template
        declared = self._template["Parameters"]
        unknown = parameters.keys() - declared.keys()
        assert not unknown, f"{name} has no parameter {unknown}"
        self._values: dict[str, Any] = dict(_PSEUDO)
        for parameter, about in declared.items():
            value = parameters.get(parameter, about.get("Default"))
            assert value is not None, f"{name} needs {parameter}"
            self._values[parameter] = value.split(",") if about["Type"] == "CommaDelimitedList" else value
        self.resources: dict[str, Any] = {
            resource: self._resolved(about["Properties"])
            for resource, about in self._template["Resources"].items()
            if "Condition" not in about or self._holds(about["Condition"])
        }
        self.types = {resource: self._template["Resources"][resource]["Type"] for resource in self.resources}
        self.outputs: dict[str, str] = {
            output: self._resolved(about["Value"]) for output, about in self._template["Outputs"].items()
        }

    def of_type(self, kind: str) -> dict[str, Any]:
        return {name: about for name, about in self.resources.items() if self.types[name] == kind}

    def declared(self, parameter: str) -> Any:
        return self._template["Parameters"][parameter]

    def policies(self, resource: str) -> tuple[str | None, str | None]:
        """What becomes of it when its stack is deleted, or when it is replaced."""
        about = self._template["Resources"][resource]
        return about.get("DeletionPolicy"), about.get("UpdateReplacePolicy")

    def _holds(self, condition: str) -> bool:
        return bool(self._resolved(self._template["Conditions"][condition]))

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, list):
            return [one for one in map(self._resolved, value) if one is not NOTHING]
        if not isinstance(value, Mapping):
            return value
        match dict(value):
            case {"Ref": str(name)}:
                return self._values.get(name, name)
            case {"Fn::GetAtt": [str(resource), str(attribute)]} | {"Fn::GetAtt": [str(resource), str(attribute), *_]}:
                return f"{resource}.{attribute}"
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([^}]+)\}", lambda found: str(self._values.get(found[1], found[1])), text)
            case {"Fn::If": [str(condition), yes, no]}:
                return self._resolved(yes if self._holds(condition) else no)
            case {"Fn::Not": [one]}:
                return not self._resolved(one)
            case {"Fn::Equals": [one, other]}:
                return self._resolved(one) == self._resolved(other)
            case others:
                assert not any(name.startswith("Fn::") for name in others), others
                resolved = {name: self._resolved(one) for name, one in others.items()}
                return {name: one for name, one in resolved.items() if one is not NOTHING}
