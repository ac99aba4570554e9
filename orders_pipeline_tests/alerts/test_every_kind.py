"""Every kind of alert opens with its state and closes with it, and people are told of both, once, through each channel.

Every kind has a case and a section of the runbook. A domain's cases are in its `alert_cases.py`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from itertools import permutations

import pytest

from orders_pipeline.alerts.kinds import NOBODY, SEVERITIES, AlertKind
from orders_pipeline.alerts.reconcile import evaluate, key_of
from orders_pipeline.database.engine import AnyRow
from orders_pipeline.operations.alerting.alerts import NOT_DELIVERED
from orders_pipeline.operations.alerts import ALERTS
from orders_pipeline.privacy.checks.check_alerts import RED_CHECK
from orders_pipeline_tests.alerts.case import Case
from orders_pipeline_tests.channels.amazon import alert_cases as amazon
from orders_pipeline_tests.conftest import SELLER
from orders_pipeline_tests.fulfillment import alert_cases as fulfillment
from orders_pipeline_tests.intake import alert_cases as intake
from orders_pipeline_tests.mail_server import MailServer
from orders_pipeline_tests.operations import alert_cases as operations
from orders_pipeline_tests.operations.alerting.told import pass_time, settings_for, tell
from orders_pipeline_tests.privacy import alert_cases as privacy
from orders_pipeline_tests.read_source import ROOT
from orders_pipeline_tests.reports import alert_cases as reports
from orders_pipeline_tests.shipments import alert_cases as shipments
from orders_pipeline_tests.slack import Slack
from orders_pipeline_tests.vault import alert_cases as vault
from orders_pipeline_tests.work import alert_cases as work
from orders_pipeline_tests.world import World

CASES: dict[str, Case] = {
    case.kind.name: case
    for domain in (intake, fulfillment, shipments, reports, privacy, amazon, vault, work, operations)
    for case in domain.CASES
}
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text("utf-8")


@pytest.fixture(scope="module")
def slack() -> Iterator[Slack]:
    with Slack.listening() as server:
        yield server


@pytest.fixture(scope="module")
def mail() -> Iterator[MailServer]:
    with MailServer.listening() as server:
        yield server


@pytest.mark.parametrize("name", [kind.name for kind in ALERTS])
def test_every_kind_opens_with_its_state_is_told_and_closes_with_it(
    world: World, slack: Slack, mail: MailServer, name: str
):
    case, settings = CASES[name], settings_for(slack, mail)
    slack.told.clear()
    mail.mails.clear()
    opened = _opens(world, case)
    for _ in range(2):
        tell(world.database, settings)
    opening = _titles(mail, opened)
    assert len(opening) == 1
    (message,) = [told for told in mail.told if opening[0] in told]
    assert opening[0].startswith(f"[{max((row.severity for row in opened), key=SEVERITIES.index)}] ")
    assert f"Runbook: {case.kind.runbook}: https://docs.shop.example/runbook.md#" in message
    assert "What to do: " in message
    _closes(world, case)
    tell(world.database, settings)
    assert _titles(mail, opened) == opening, "what is over may return at once"
    pass_time(world.database, "17 minutes")
    for _ in range(2):
        tell(world.database, settings)
    assert _titles(mail, opened) == [opening[0], "[over]" + opening[0].partition("]")[2]]
    if case.kind is NOT_DELIVERED:
        assert slack.told == [], "it is Slack that takes nothing"
        return
    as_read = [html.unescape(told).replace("[:]//", "://").splitlines()[0] for told in slack.told]
    assert as_read == [told.splitlines()[1] for told in mail.told]
    assert "CANARY" not in "".join([*slack.told, *mail.told]), "no buyer's data"


def _titles(mail: MailServer, opened: list[AnyRow]) -> list[str]:
    """The first line of each mail about these alerts."""
    titles = [told.splitlines()[1] for told in mail.told]
    return [title for title in titles if any(row.message in title for row in opened)]


@pytest.mark.parametrize("case", [fulfillment.A_MONTH_PASSES, shipments.A_MONTH_PASSES], ids=["too late", "voided"])
def test_what_nobody_here_hears_the_end_of_is_shown_for_a_month(world: World, case: Case):
    _opens_and_closes(world, case)


@pytest.mark.parametrize("case", [work.NOTHING_WAITS, vault.NOTHING_WAITS], ids=["a dependency", "the keys"])
def test_a_pause_behind_which_nothing_waits_any_more_is_not_shown(world: World, case: Case):
    _opens_and_closes(world, case)


def _opens_and_closes(world: World, case: Case) -> None:
    _opens(world, case)
    _closes(world, case)


def _opens(world: World, case: Case) -> list[AnyRow]:
    assert _evaluated(world, case) == []
    case.begin(world)
    opened = _evaluated(world, case)
    assert opened != []
    for alert in opened:
        assert alert.account_id == (SELLER if case.kind.per_account else NOBODY)
        assert "None" not in alert.message + alert.what_to_do, "a column of the query is null"
        assert alert.link is None or alert.link.startswith("/")
    assert _evaluated(world, case) == opened, "what is as it was is not written again"
    return opened


def _closes(world: World, case: Case) -> None:
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
    assert kind.severity in SEVERITIES
    says = " ".join(re.sub(r"\{\w+\}", "…", kind.message).split())
    if kind is RED_CHECK:
        assert f'"{says}"' in " ".join(sections[kind.runbook].split()), "its checks are a table"
        return
    (point,) = re.findall(
        rf"^- \*\*{re.escape(kind.name)}(?::…)?\*\* says .*?(?=^\S|\Z)", sections[kind.runbook], re.M | re.S
    )
    first, *parts = [" ".join(part.split()) for part in point.split("\n  - ")]
    assert [part.partition(":")[0] for part in parts] == ["Means", "Do", "Over"]
    assert all(len(part.split()) > 1 for part in parts)
    # What is all the query's own words cannot be quoted.
    assert f'"{says}"' in first or not re.search(r"\w", says.replace("…", "")), "quote what the alert says"
