"""The benchmarks run, at their smallest size. Their figures are for `make bench`, on a quiet machine.

Not here: `peak`, `calls`, `latency`, `webhooks`, `sustained` and `backfill`, which start the whole deployment and play
for minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from warehouses.tryton.server import TrytonServer

NAMES = ("limits", "vault", "compliance", "drain", "growth")
ROOT = Path(__file__).resolve().parents[1]


def _rows(tmp_path: Path, *names: str) -> list[dict[str, Any]]:
    results = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "bench", *names, "--workload", "small", "--results", str(results)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in results.read_text("utf-8").splitlines()]
    assert all(row["ours"] > 0 or row["goal"] == "0" for row in rows), rows
    return rows


@pytest.mark.processes
@pytest.mark.slow(81)
@pytest.mark.timeout(330)
def test_every_benchmark_runs_to_its_end_and_reports_every_row(tmp_path: Path):
    rows = _rows(tmp_path, *NAMES)
    # Five of the limits, five of the vault, memory and time of four checks, one of the drain, four of growth and two of
    # each of five jobs.
    assert len({row["name"] for row in rows}) == len(rows) == 33


@pytest.mark.processes
@pytest.mark.timeout(330)
def test_the_board_is_measured_in_a_browser_beside_one_with_fewer_orders(tmp_path: Path):
    if shutil.which("chromium") is None:
        assert not os.environ.get("CI")
        pytest.skip("chromium is not installed")
    assert len(_rows(tmp_path, "board")) == 4


@pytest.mark.processes
@pytest.mark.timeout(330)
def test_pushes_to_tryton_are_measured_beside_bare_shipments(tmp_path: Path, tryton: TrytonServer):
    # The fixture has prepared the database.
    assert tryton.pid is not None
    assert len(_rows(tmp_path, "tryton")) == 1
