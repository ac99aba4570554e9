"""Long work says how far it is, now and then, and when it will be done."""

from __future__ import annotations

from orders_pipeline.work.progress import EVERY_SECONDS, Progress


def test_a_sentence_comes_every_ten_seconds_with_what_is_left():
    told: list[str] = []
    now = [0.0]
    progress = Progress("records opened", 1_000, told.append, clock=lambda: now[0])
    for _ in range(9):
        now[0] += 5
        progress.advance(100)
    assert told == [
        "200 of 1,000 records opened (20%); about 40 s to go",
        "400 of 1,000 records opened (40%); about 30 s to go",
        "600 of 1,000 records opened (60%); about 20 s to go",
        "800 of 1,000 records opened (80%); about 10 s to go",
    ]


def test_progress_is_silent_when_quick_and_never_above_its_total():
    told: list[str] = []
    now = [0.0]
    progress = Progress("orders", 10, told.append, clock=lambda: now[0])
    progress.advance(10)
    assert told == []
    now[0] = EVERY_SECONDS
    progress.advance(20)
    assert told == ["30 of 30 orders (100%); about 0 s to go"]
    now[0] += EVERY_SECONDS
    Progress("orders", 0, told.append, clock=lambda: now[0] + 20).advance(0)
