"""`python -m orders_pipeline.sandbox`: the sandbox as a process of its own, until SIGTERM or SIGINT.

The ready file is a JSON object of environment variables; it appears whole, or not.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from orders_pipeline.sandbox.amazon.state import AmazonOptions
from orders_pipeline.sandbox.day.player import DayOptions
from orders_pipeline.sandbox.queue import QueueOptions
from orders_pipeline.sandbox.sandbox import Sandbox, other_sellers
from orders_pipeline.sandbox.warehouse.floor import FloorOptions


def main(arguments: list[str] | None = None, *, make: Callable[..., Sandbox] = Sandbox) -> int:
    """`make`: a sandbox with another warehouse, of the same parts."""
    options = _parser().parse_args(arguments)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    sandbox = make(
        seed=options.seed,
        time_scale=options.time_scale,
        canary=options.canary,
        subscribed=options.subscribed,
        amazon=AmazonOptions(loss_share=options.loss_share, item_level_share=0.1),
        queue=QueueOptions.hostile()
        if options.hostile
        else QueueOptions(duplicate_share=0.1, disorder_share=0.1, disorder_seconds=2.0),
        floor=FloorOptions(min_seconds=options.ship_min_seconds, max_seconds=options.ship_max_seconds),
        day=DayOptions(
            orders=options.orders,
            duration_seconds=options.duration,
            endless=options.endless,
            late_addresses=options.late_addresses,
            transparency=options.transparency,
        ),
        amazon_port=options.amazon_port,
        queue_port=options.queue_port,
        warehouse_port=options.warehouse_port,
        webhook_url=options.webhook_url,
        others=other_sellers(options.accounts - 1),
    )
    with sandbox:
        if options.ready_file is not None:
            _write_whole(options.ready_file, json.dumps(sandbox.environment(), indent=2) + "\n")
        addresses = f"amazon {sandbox.url}, sqs {sandbox.queue.endpoint}, warehouse {sandbox.warehouse_url}"
        print(f"sandbox ready: {addresses}", flush=True)  # noqa: T201 - the one line that tells a person it is up
        if options.autostart:
            sandbox.days.start()
        stopped.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m orders_pipeline.sandbox", description=__doc__)
    flag = argparse.BooleanOptionalAction
    parser.add_argument("--seed", type=int, default=1, help="the same seed plays the same day")
    parser.add_argument("--orders", type=int, default=160)
    parser.add_argument("--accounts", type=int, default=1, help="sellers, in several regions, who share the orders")
    parser.add_argument("--duration", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--time-scale", type=float, default=1.0, help="multiplies Amazon's refill rates, nothing else")
    parser.add_argument("--ready-file", type=Path, help="where to write the client's environment, as JSON")
    parser.add_argument("--autostart", action=flag, default=True, help="start the day at once")
    parser.add_argument("--endless", action="store_true", help="orders at a gentle rate, for ever")
    parser.add_argument("--canary", action="store_true", help="every personal value is a recognisable canary")
    parser.add_argument("--hostile", action="store_true", help="the queue repeats, shuffles and corrupts")
    parser.add_argument("--loss-share", type=float, default=0.0, help="the share of notifications never sent")
    parser.add_argument("--late-addresses", action="store_true", help="some orders get their address late")
    parser.add_argument("--transparency", action="store_true", help="some orders need transparency codes")
    parser.add_argument("--subscribed", action=flag, default=True, help="the ORDER_CHANGE subscription exists already")
    parser.add_argument("--webhook-url", help="where the warehouse sends its webhooks; without it, nowhere")
    parser.add_argument("--ship-min-seconds", type=float, default=2.0)
    parser.add_argument("--ship-max-seconds", type=float, default=6.0)
    for name in ("amazon", "queue", "warehouse"):
        parser.add_argument(f"--{name}-port", type=int, default=0)
    return parser


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
