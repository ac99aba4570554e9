"""Every kind of alert opens with its state and closes with it; every kind has a case and a runbook section.

A domain's cases are in its `alert_cases.py`.
"""

from __future__ import annotations

import re
from itertools import permutations

import pytest

from orders_pipeline.alerts.kinds import NOBODY, SEVERITIES, AlertKind
from orders_pipeline.alerts.reconcile import evaluate, key_of
from orders_pipeline.database.engine import AnyRow
from orders_pipeline.operations.alerts import ALERTS
from orders_pipeline_tests.alerts.case import Case
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.fulfillment import alert_cases as fulfillment
from orders_pipeline_tests.intake import alert_cases as intake
from orders_pipeline_tests.operations import alert_cases as operations
from orders_pipeline_tests.privacy import alert_cases as privacy
from orders_pipeline_tests.read_source import ROOT
from orders_pipeline_tests.reports import alert_cases as reports
from orders_pipeline_tests.shipments import alert_cases as shipments
from orders_pipeline_tests.vault import alert_cases as vault
from orders_pipeline_tests.work import alert_cases as work
from orders_pipeline_tests.world import World

CASES: dict[str, Case] = {
    case.kind.name: case
    for domain in (intake, fulfillment, shipments, reports, privacy, vault, work, operations)
    for case in domain.CASES
}
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text("utf-8")


@pytest.mark.parametrize("name", [kind.name for kind in ALERTS])
def test_every_kind_opens_with_its_state_and_closes_with_it(world: World, name: str):
    _opens_and_closes(world, CASES[name])


@pytest.mark.parametrize("case", [work.NOTHING_WAITS, vault.NOTHING_WAITS], ids=["a dependency", "the keys"])
def test_a_pause_behind_which_nothing_waits_any_more_is_not_shown(world: World, case: Case):
    _opens_and_closes(world, case)


def _opens_and_closes(world: World, case: Case) -> None:
    assert _evaluated(world, case) == []
    case.begin(world)
    opened = _evaluated(world, case)
    assert opened != []
    for alert in opened:
        assert alert.account_id == (SELLER if case.kind.per_account else NOBODY)
        assert "None" not in alert.message + alert.what_to_do, "a column of the query is null"
    assert _evaluated(world, case) == opened, "what is as it was is not written again"
    case.end(world)
    assert _evaluated(world, case) == []


def _evaluated(world: World, case: Case) -> list[AnyRow]:
    kind = case.kind
    if kind.query is not None:
        result = evaluate(world.database, SELLER if kind.per_account else NOBODY, [kind])
        assert result.failed == {}
    rows = world.rows("pipeline.alerts", where="closed_at is null")
    return [row for row in rows if row.key == key_of(kind, "") or row.key.startswith(key_of(kind, "") + ":")]


def test_every_kind_has_a_case_and_every_case_a_kind():
    assert CASES.keys() == {kind.name for kind in ALERTS}
    assert len(ALERTS) == len(CASES), "two kinds of one name"


def test_no_kind_takes_the_keys_of_another():
    assert [pair for pair in permutations(CASES, 2) if pair[1].startswith(f"{pair[0]}:")] == []


@pytest.mark.parametrize("kind", ALERTS, ids=lambda kind: kind.name)
def test_every_kind_is_in_its_section_of_the_runbook(kind: AlertKind):
    sections = {part.partition("\n")[0]: part for part in re.split(r"^##+ ", RUNBOOK, flags=re.MULTILINE)}
    assert kind.runbook in sections
    named = re.findall(r"\*\*([a-z_.:]+?)(?::…)?\*\*|`([a-z_.]+?):…`", sections[kind.runbook])
    assert kind.name in {bold or code for bold, code in named}
    assert kind.severity in SEVERITIES
