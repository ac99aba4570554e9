"""Run configuration is kept in Dagster's database in clear: it takes no text in which a person could name a buyer."""

from __future__ import annotations

from typing import Any, get_args

import dagster as dg
import pytest

from orders_pipeline.definitions import build_defs
from orders_pipeline.defs.job_configs import HoldReason
from orders_pipeline.fulfillment.eligibility import WAIVABLE

IDS = {"order_id", "order_ids"}
NAME = "Canary Quillfeather"
TYPED = [
    ("waive_hold", "waive_one_hold", {"order_id": "111-1", "reasons": ["REGULATED"], "why": NAME}),
    ("waive_hold", "waive_one_hold", {"order_id": "111-1", "reasons": [NAME], "why": "CHECKED_BY_US"}),
    ("waive_hold", "waive_one_hold", {"order_id": "111-1", "reasons": [], "why": "CHECKED_BY_US", "ticket": NAME}),
    ("replay_parked", "replay_parked_orders", {"reason": NAME}),
    ("replay_parked", "replay_parked_orders", {"stage": NAME}),
    ("erase", "erase_buyers_data", {"order_id": "111-1", "requested_by": NAME}),
]


@pytest.mark.parametrize(("job", "op", "config"), TYPED)
def test_a_name_is_refused_before_a_run_is_made_of_it(instance: dg.DagsterInstance, job: str, op: str, config: Any):
    definition = build_defs().resolve_job_def(job)
    with pytest.raises(dg.DagsterInvalidConfigError):
        definition.execute_in_process(instance=instance, run_config={"ops": {op: {"config": config}}})
    assert instance.get_runs_count() == 0


def test_no_job_takes_free_text():
    build_defs()
    ours = [config for config in dg.Config.__subclasses__() if config.__module__.startswith("orders_pipeline.defs")]
    texts = {
        name
        for config in ours
        for name, field in config.model_fields.items()
        if str in (field.annotation, *get_args(field.annotation))
    }
    assert ours
    assert texts == IDS


def test_every_reason_that_may_be_waived_can_be_chosen():
    assert {reason.value for reason in HoldReason} == WAIVABLE
