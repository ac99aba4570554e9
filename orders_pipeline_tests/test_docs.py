"""The documents say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from orders_pipeline.defs import compliance_checks
from orders_pipeline.fulfillment import eligibility
from orders_pipeline.fulfillment.states import as_markdown
from orders_pipeline.privacy.audit_export import copies as audit_copies
from orders_pipeline.privacy.checks import held_values
from orders_pipeline.privacy.retention import clock, retention
from orders_pipeline.settings import AMAZON_REQUIRED, WAREHOUSE_REQUIRED

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_of_states_is_the_machine():
    assert (ROOT / "docs" / "order-states.md").read_text(encoding="utf-8") == as_markdown(), "run `make docs`"


def test_the_runbook_says_what_ends_every_hold():
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    reasons = [value for name, value in vars(eligibility).items() if name.isupper() and isinstance(value, str)]
    others = {eligibility.MERCHANT, eligibility.AMAZON, eligibility.IN_STORE_PICK_UP, eligibility.REGULATED_PROGRAM}
    for reason in set(reasons) - others:
        assert f"`{reason}`" in runbook, reason


def test_the_readme_and_the_example_name_every_required_setting():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    for name in (*AMAZON_REQUIRED, *WAREHOUSE_REQUIRED):
        assert name in readme, name
        assert f"{name}=" in example, name


def test_the_compliance_page_names_every_check_and_no_file_that_is_not_there():
    page = (ROOT / "docs" / "compliance.md").read_text(encoding="utf-8")
    checks = {
        *compliance_checks.LOG_CHECKS,
        *compliance_checks.EXPORT_CHECKS,
        *compliance_checks.RETENTION_CHECKS,
        *compliance_checks.HISTORY_CHECKS,
    }
    assert {name for name in checks if f"`{name}`" not in page} == set()
    # A name without a folder stands for a file that the page named before with it.
    named = {name for name in re.findall(r"`([a-z_/]+\.(?:py|sql))`", page) if "/" in name}
    folders = (ROOT, ROOT / "orders_pipeline", ROOT / "orders_pipeline_tests")
    assert {name for name in named if not any((folder / name).is_file() for folder in folders)} == set()


def test_the_compliance_page_has_the_numbers_of_the_code():
    page = " ".join((ROOT / "docs" / "compliance.md").read_text(encoding="utf-8").split())
    for said in (
        f"{clock.AFTER_DELIVERY.days} days after delivery",
        f"{(clock.LIMIT - clock.LIMIT_MARGIN).days} days after",
        f"{clock.KEPT_AT_MOST.days} days after it was first kept",
        f"the day's newest {held_values.RECORDS_AT_MOST:,} orders",
        f"the last {audit_copies.DAYS_ALWAYS_READ} days",
        f"kept for {round(retention.AUDIT_LIFE.days / 30.4)} months",
        f"{round(retention.NON_PII_LIFE.days / 30.4)} months at most",
    ):
        assert said in page, said
    assert audit_copies.TURN_DAYS == 28, "a twenty-eighth"
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    assert settings["compute_logs"]["class"] == "NoOpComputeLogManager", "compute logs off"
