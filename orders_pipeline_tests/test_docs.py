"""The documents say what the code does."""

from __future__ import annotations

from pathlib import Path

from orders_pipeline.fulfillment import eligibility
from orders_pipeline.fulfillment.states import as_markdown
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
