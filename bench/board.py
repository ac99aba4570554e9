"""What the order board costs with many open orders against a hundredth of them, in a real browser.

Both boards are looked at in turns: how long until the first content is on the screen, until a filter is, and how long
a frame takes while somebody scrolls through all orders, whose pages are loaded as they come into sight.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.table import Row, notify, row
from bench.workload import Workload
from orders_pipeline.database.embedded import EmbeddedPostgres, start_embedded
from orders_pipeline.database.engine import Database
from orders_pipeline.database.migrate import ensure_database_exists, upgrade
from orders_pipeline_tests.web.board.served import board_app, board_deployment, chromium, people, served, window
from orders_pipeline_tests.web.board.shop import Shop

TITLE = "Order board"
# One may scroll to the end in so long; what is not on the board by then is said.
SCROLL_SECONDS = 120.0
PIXELS_A_FRAME = 500

_FIRST_CONTENT = """
() => new Promise(told => new PerformanceObserver(list => {
  const first = list.getEntriesByName('first-contentful-paint')[0];
  if (first) told(first.startTime);
}).observe({type: 'paint', buffered: true}))
"""
_FILTER = """
() => new Promise(told => {
  const began = performance.now();
  new MutationObserver((_, seen) => {
    if (document.querySelector('#board').dataset.query !== 'needs=tracking') return;
    seen.disconnect();
    requestAnimationFrame(() => setTimeout(() => told(performance.now() - began)));
  }).observe(document.body, {subtree: true, childList: true, attributes: true});
  document.querySelector('[name=needs]').click();
})
"""
# From the top to the end, then up and down once more over what is loaded; the time of each frame.
_SCROLL = """
([pixels, seconds]) => new Promise(told => {
  const list = document.querySelector('#list-unshipped');
  const frames = [], began = performance.now();
  let last = began, way = 1, turns = 0;
  function frame(now) {
    frames.push(now - last);
    last = now;
    const before = list.scrollTop;
    list.scrollTop += way * pixels;
    const isAtEnd = list.scrollTop === before && !(way > 0 && list.querySelector('.more'));
    if (isAtEnd) { way = -way; turns += 1; }
    if (turns < 3 && now - began < seconds * 1000) requestAnimationFrame(frame);
    else told({frames: frames.slice(1), cards: list.querySelectorAll('.card').length});
  }
  requestAnimationFrame(frame);
})
"""
_REFRESH = """
async () => {
  const address = '/board/refresh?section=unshipped~~';
  const tag = (await fetch(address)).headers.get('ETag');
  const began = performance.now();
  const answer = await fetch(address, {headers: {'If-None-Match': tag}});
  await answer.text();
  return [performance.now() - began, answer.status];
}
"""


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one round, in milliseconds."""

    first_content: float
    filter: float
    refresh: float


def run(workload: Workload) -> list[Row]:
    many, few = workload.board_orders, max(workload.board_orders // 100, 1)
    with tempfile.TemporaryDirectory(prefix="orders-bench-") as folder:
        server = start_embedded(Path(folder))
        try:
            with (
                _board(server, Path(folder) / "few", few) as few_url,
                _board(server, Path(folder) / "many", many) as many_url,
                chromium() as browser,
            ):
                # The first round opens connections and plans what the others find ready.
                rounds = [
                    (_look(browser, few_url), _look(browser, many_url)) for _ in range(workload.board_rounds + 1)
                ][1:]
                notify(f"scrolling through {many:,} orders")
                scrolled = [_scroll(browser, url) for url in (few_url, many_url)]
        finally:
            server.stop()
    small, large = [one for one, _ in rounds], [one for _, one in rounds]
    (few_frames, _), (many_frames, cards) = scrolled
    if cards < many:
        notify(f"{cards:,} of {many:,} orders were on the board after {SCROLL_SECONDS:g} s of scrolling")
    beside = f"with {many:,} open orders, against 1/100"
    smooth, rough = _percentile(few_frames, 95), _percentile(many_frames, 95)
    return [
        row(f"board: first content, ms {beside}", *_medians("first_content", large, small), "<= 1.5"),
        row(f"board: a filter is on the screen, ms {beside}", *_medians("filter", large, small), "<= 2"),
        row(f"board: a refresh of nothing new, ms {beside}", *_medians("refresh", large, small), "<= 2"),
        row(f"board: a frame of scrolling, ms, 95th percentile {beside}", rough, smooth, "<= 1.5"),
    ]


def _medians(name: str, ours: Sequence[Costs], reference: Sequence[Costs]) -> tuple[float, float]:
    of_both = [statistics.median(getattr(one, name) for one in costs) for costs in (ours, reference)]
    return of_both[0], of_both[1]


def _percentile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) * percent // 100, len(values) - 1)]


@contextmanager
def _board(server: EmbeddedPostgres, folder: Path, orders: int) -> Generator[str]:
    """A board over a database of its own; its address."""
    folder.mkdir()
    url = server.url(folder.name)
    ensure_database_exists(url)
    database = Database(url)
    upgrade(database)
    Shop(database).many(orders)
    database.close()
    deployment = board_deployment(url, folder)
    with served(board_app(deployment, people(folder))) as address:
        yield address
    deployment.database.close()


def _look(browser: Any, url: str) -> Costs:
    with window(browser, url) as seen:
        seen.page.goto("/board")
        first = float(seen.page.evaluate(_FIRST_CONTENT))
        filtered = float(seen.page.evaluate(_FILTER))
        refreshed, status = seen.page.evaluate(_REFRESH)
        assert status == 304
        return Costs(first, filtered, float(refreshed))


def _scroll(browser: Any, url: str) -> tuple[list[float], int]:
    """Milliseconds of each frame, and how many cards were on the board at the end."""
    with window(browser, url) as seen:
        seen.page.goto("/board")
        found = seen.page.evaluate(_SCROLL, [PIXELS_A_FRAME, SCROLL_SECONDS])
        return found["frames"], found["cards"]
