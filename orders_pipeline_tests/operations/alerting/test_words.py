"""What a message says, and where it leads."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orders_pipeline.operations.alerting.groups import Group, OpenAlert
from orders_pipeline.operations.alerting.plan import Event, Planned
from orders_pipeline.operations.alerting.words import Places, compose, runbook_link
from orders_pipeline.operations.alerts import ALERTS

KINDS = {kind.name: kind for kind in ALERTS}
PLACES = Places("https://ui.example", "https://docs.example/runbook.md")
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def links(kind: str, *paths: str | None, places: Places = PLACES) -> list[tuple[str, str | None]]:
    alerts = [OpenAlert("A", kind, str(n), "error", "It broke.", "Mend it.", NOW, path) for n, path in enumerate(paths)]
    message = compose(Planned(Event.NEW, "error", Group(kind, kind, "error", alerts)), KINDS, places, NOW)
    return [(link.words, link.url) for link in message.links]


@pytest.mark.parametrize(
    ("kind", "paths", "words", "url"),
    [
        ("run.failed", ["/runs/0b1c"], "Run", "https://ui.example/runs/0b1c"),
        ("backfill.failed", ["/runs/b/xkcd"], "Run", "https://ui.example/runs/b/xkcd"),
        ("order.late", ["/board?q=1&open=A:1"], "Order board", "https://ui.example/board?q=1&open=A:1"),
        ("order.late", ["/board?q=1", "/board?q=2"], "Order board", "https://ui.example/board?needs=tracking"),
        ("order.no_address", ["/board?q=1", "/board?q=2"], "Order board", "https://ui.example/board?hold=no_address"),
        ("order.short", ["/board?q=1", "/board?q=2"], "Order board", "https://ui.example/board"),
    ],
)
def test_a_message_leads_to_what_it_is_about(kind: str, paths: list[str], words: str, url: str):
    assert links(kind, *paths)[0] == (words, url)


def test_without_the_address_of_the_ui_or_the_runbook_nothing_is_linked():
    assert links("order.late", "/board?q=1", places=Places()) == [('Runbook: docs/runbook.md, "Push"', None)]
    assert links("clock.wrong", None) == [("Runbook: Clocks", "https://docs.example/runbook.md#clocks")]


def test_a_section_has_the_anchor_that_git_hosts_give_it():
    assert runbook_link("Dagster's history", PLACES).url == "https://docs.example/runbook.md#dagsters-history"
    assert runbook_link("What the warehouse writes", PLACES).url == (
        "https://docs.example/runbook.md#what-the-warehouse-writes"
    )
