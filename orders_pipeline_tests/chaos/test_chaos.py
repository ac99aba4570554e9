"""The promises under SIGKILL: nothing lost, nothing pushed with two contents, every package confirmed once.

The short form of `make chaos`; it prints how many kills it did and where they hit (pytest -rP shows it).
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from orders_pipeline_tests.chaos.chaos import TARGETS, play, report

# One of each kind. The planned times come from the seed; what they hit, from the machine.
ORDERS, KILLS, SECONDS, SEED = 24, 4, 20.0, 2
# Two leases of a minute, one after the other, and a busy machine.
PATIENCE_SECONDS = 210.0


@pytest.mark.processes
@pytest.mark.slow(130)
@pytest.mark.timeout(330)
def test_every_order_ends_where_it_belongs_whatever_is_killed():
    # Not tmp_path: the path of a UNIX socket may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    outcome = play(
        folder,
        orders=ORDERS,
        kills=KILLS,
        duration_seconds=SECONDS,
        seed=SEED,
        patience_seconds=PATIENCE_SECONDS,
    )
    report(outcome)
    assert not outcome.wrong, f"{outcome.wrong[:5]}; logs in {folder}"
    assert {kill.target for kill in outcome.kills} == set(TARGETS)
    shutil.rmtree(folder)
