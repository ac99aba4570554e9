"""The unit of one machine: systemd understands it, and it is closed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from orders_pipeline.operations.processes import STOP_PATIENCE_SECONDS
from orders_pipeline.settings import NAMES_IN_FILES

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "orders-pipeline.service"
TEXT = UNIT.read_text("utf-8")
# Of ten, in systemd's own count: a service that nobody closed has 9.6.
MOST_EXPOSED_TENTHS = 15

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not there: the unit is not looked at"
)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is on this machine in the place of ours."""
    path = tmp_path / UNIT.name
    path.write_text(re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", TEXT, flags=re.MULTILINE), "utf-8")
    return path


@needs_systemd
def test_systemd_finds_nothing_in_the_unit(unit: Path):
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


@needs_systemd
def test_the_service_is_closed(unit: Path):
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED_TENTHS}", "--no-pager"]
    checked = subprocess.run([*command, unit], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout[-200:]


def test_each_secret_is_a_credential_and_the_stop_has_its_time():
    loaded = set(re.findall(r"^LoadCredential=(\w+):", TEXT, re.MULTILINE))
    named = dict(re.findall(r"^Environment=(\w+)_FILE=%d/(\w+)$", TEXT, re.MULTILINE))
    assert set(named.values()) == loaded
    assert set(named) <= set(NAMES_IN_FILES)
    stop = re.search(r"^TimeoutStopSec=(\d+)$", TEXT, re.MULTILINE)
    assert stop and int(stop.group(1)) > STOP_PATIENCE_SECONDS + 10
    assert "KillMode=mixed" in TEXT, "`up` stops its processes itself, the database last"
