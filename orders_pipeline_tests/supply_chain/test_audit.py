"""`make audit` never takes an unanswered question for a good answer."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from supply_chain import audit
from supply_chain.audit import FOUND, NOT_LOOKED_UP, verdict

SOUND = {"name": "idna", "version": "3.20", "vulns": []}
SKIPPED = {"name": "six", "skip_reason": "Dependency not found on PyPI and could not be audited: six (1.17.0)"}
ILL = {"name": "h11", "version": "0.15", "vulns": [{"id": "GHSA-vqfr", "fix_versions": ["0.16.0"], "aliases": []}]}


@pytest.mark.parametrize(
    ("releases", "code", "said"),
    [
        ([SOUND, SOUND], 0, "2 releases, no known vulnerability"),
        ([SOUND, ILL], FOUND, "h11 0.15: GHSA-vqfr, mended in 0.16.0"),
        ([SKIPPED, ILL], FOUND, "NOT LOOKED UP: 1 of 2 releases (six)"),
        ([SOUND, SKIPPED], NOT_LOOKED_UP, "NOT LOOKED UP: 1 of 2 releases (six)"),
        ([], NOT_LOOKED_UP, "NOT LOOKED UP"),
    ],
)
def test_what_was_not_looked_up_is_told_and_is_no_success(releases: list[Any], code: int, said: str):
    found, lines = verdict({"dependencies": releases, "fixes": []})
    assert found == code
    assert said in "\n".join(lines)


@pytest.mark.parametrize(
    ("outputs", "code"),
    [
        ([[SOUND], [SOUND]], 0),
        ([[SKIPPED], [ILL]], FOUND),
        ([[ILL], [SKIPPED]], FOUND),
        ([[SOUND], [SKIPPED]], NOT_LOOKED_UP),
        ([[SOUND], None], NOT_LOOKED_UP),
    ],
)
def test_the_worst_of_both_files_counts_and_an_answer_that_is_none_is_not_a_good_one(
    outputs: list[Any], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    answers = iter(outputs)

    def run(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        answer = next(answers)
        told = "" if answer is None else json.dumps({"dependencies": answer})
        return subprocess.CompletedProcess([], 1, told, "Traceback\nConnectionError: no route")

    monkeypatch.setattr(audit.subprocess, "run", run)
    assert audit.main([]) == code
    assert (code == NOT_LOOKED_UP) <= ("NOT LOOKED UP" in capsys.readouterr().out)
