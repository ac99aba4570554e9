"""One line of `orders-pipeline doctor`: ok, or what to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DiagnosticResult:
    """`what_to_do` is empty exactly when it is ok. Nothing in it is secret."""

    subject: str
    ok: bool
    detail: str
    what_to_do: str = ""


def good(subject: str, detail: str) -> DiagnosticResult:
    return DiagnosticResult(subject, True, detail)


def bad(subject: str, detail: str, what_to_do: str) -> DiagnosticResult:
    return DiagnosticResult(subject, False, detail, what_to_do)
