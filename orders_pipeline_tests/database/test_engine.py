"""The pool gives out connections that live, and does not ask one that answered a moment ago."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from orders_pipeline.database import engine
from orders_pipeline.database.engine import Database


def _number(database: Database) -> int:
    """Of the server's process behind the connection."""
    with database.begin() as connection:
        return int(connection.execute(text("select pg_backend_pid()")).scalar_one())


def _cut(database_url: str, number: int) -> None:
    other = Database(database_url)
    with other.begin() as connection:
        assert connection.execute(text("select pg_terminate_backend(:number)"), {"number": number}).scalar_one()
    other.close()


def test_a_connection_that_was_cut_while_it_lay_idle_is_replaced_unnoticed(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engine, "PING_AFTER_SECONDS", 0.0)
    before = _number(database)
    _cut(database_url, before)
    assert _number(database) != before


def test_a_connection_that_answered_a_moment_ago_is_not_asked_whether_it_lives(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    asked: list[object] = []
    monkeypatch.setattr(database.engine.dialect, "do_ping", lambda connection: asked.append(connection) or True)
    monkeypatch.setattr(engine, "PING_AFTER_SECONDS", 60.0)
    assert _number(database) == _number(database)
    assert asked == []
    monkeypatch.setattr(engine, "PING_AFTER_SECONDS", 0.0)
    _number(database)
    assert len(asked) == 1
