"""Everything in the UI says what it is, what to do when it is red, and where its rule comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import EnumType
from typing import get_args

import dagster as dg
import pytest

from orders_pipeline.definitions import build_defs
from orders_pipeline.defs import job_configs
from orders_pipeline.defs.guide import DANGER_TAG, DESTROYS, SHIPS_ORDERS, anchor, described
from orders_pipeline.defs.source_links import with_source_links
from orders_pipeline_tests.read_source import ROOT

DOCS = ROOT / "docs"
ENDING = re.compile(r"\n\n\*\*Red\?\*\* \[Runbook, “.+”\]\(/docs/runbook\.md#[\w-]+\)\n\n\*\*Its rule:\*\* \S")
PLAIN_ENDING = re.compile(r"\n\nRed\? Runbook, “.+” \(/docs/runbook\.md#[\w-]+\)\.\n\nIts rule: \S")
# Where Dagster shows a description as it is.
PLAIN = ("sensor ", "schedule ")
LINK = re.compile(r"\((/docs/[^)]+)\)")
SECTIONS = {anchor(text) for text in re.findall(r"^##+ (.+)$", (DOCS / "runbook.md").read_text("utf-8"), re.MULTILINE)}
# The lineage shows so much of a description's first line, a list somewhat less.
FIRST_LINE = 130
ORDER_ID = "902-1845936-5435065"


def _descriptions() -> Iterator[tuple[str, str | None]]:
    repository = build_defs().get_repository_def()
    graph = repository.asset_graph
    for asset in graph.get_all_asset_keys():
        yield f"asset {asset.to_user_string()}", graph.get(asset).description
    for check in graph.asset_check_keys:
        yield f"check {check.name}", graph.get(check).description
    for job in repository.get_all_jobs():
        if not job.name.startswith("__"):
            yield f"job {job.name}", job.description
    for sensor in repository.sensor_defs:
        yield f"sensor {sensor.name}", sensor.description
    for schedule in repository.schedule_defs:
        yield f"schedule {schedule.name}", schedule.description


# In an order that every process of the tests has.
DESCRIPTIONS = dict(sorted(_descriptions(), key=lambda one: one[0]))


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_each_says_what_it_is_what_to_do_when_it_is_red_and_where_its_rule_comes_from(name: str):
    description = DESCRIPTIONS[name] or ""
    assert (PLAIN_ENDING if name.startswith(PLAIN) else ENDING).search(description), description
    assert not name.startswith(PLAIN) or not re.search(r"[*`\[\]]", description), "it is not rendered"
    first = description.split("\n")[0]
    assert 20 < len(first) <= FIRST_LINE, first
    for target in LINK.findall(description):
        page, _, section = target.removeprefix("/docs/").partition("#")
        assert (DOCS / page).is_file(), target
        assert not section or section in SECTIONS, target


def test_an_asset_without_a_description_does_not_load():
    with pytest.raises(ValueError, match="what it is"):
        described(" ", red="Push", rule="none")


def test_the_links_lead_elsewhere_where_a_deployment_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ORDERS_DOCS_URL", "https://shop.example/docs/")
    text = described("What it is.", red="Dagster's history", rule="ours.")
    assert "(https://shop.example/docs/runbook.md#dagsters-history)" in text


def test_every_field_that_a_person_may_fill_in_is_described():
    build_defs()
    configs = [one for one in dg.Config.__subclasses__() if one.__module__.startswith("orders_pipeline.defs")]
    fields = {f"{one.__name__}.{name}": field for one in configs for name, field in one.model_fields.items()}
    assert len(fields) > 10
    assert [name for name, field in fields.items() if not field.description] == []
    for name, field in fields.items():
        for words in (field.annotation, *get_args(field.annotation)):
            names = words.__members__ if isinstance(words, EnumType) else ()
            assert all(word in (field.description or "") for word in names), f"{name}: Dagster's own error names none"


def test_the_jobs_that_destroy_or_ship_look_like_it():
    repository = build_defs().get_repository_def()
    jobs = {job.name: job for job in repository.get_all_jobs() if not job.name.startswith("__")}
    dangerous = {name: job.tags.get(DANGER_TAG) for name, job in jobs.items() if DANGER_TAG in job.tags}
    assert dangerous == {
        **dict.fromkeys(
            ("erase", "end_revoked", "rotate_keys", "shred_expired_pii", "prune_history"), DESTROYS[DANGER_TAG]
        ),
        **dict.fromkeys(("waive_hold", "adopt_orders"), SHIPS_ORDERS[DANGER_TAG]),
    }
    assert {name for name, job in jobs.items() if (job.description or "").startswith("⚠ ")} == dangerous.keys()


@pytest.mark.parametrize(
    ("job", "op", "config", "told"),
    [
        ("recover_order", "recover_one_order", {}, "order_id"),
        ("erase", "erase_buyers_data", {"order_id": ORDER_ID}, "requested_by"),
        ("waive_hold", "waive_one_hold", {"order_id": ORDER_ID, "why": "CHECKED_BY_US"}, "reasons"),
        ("replay_parked", "replay_parked_orders", {"stages": "PUSH"}, "stage"),
    ],
)
def test_what_is_missing_or_unknown_is_answered_with_what_to_write(
    job: str, op: str, config: dict[str, object], told: str
):
    with pytest.raises(dg.DagsterInvalidConfigError, match=told):
        build_defs().resolve_job_def(job).execute_in_process(run_config={"ops": {op: {"config": config}}})


def test_a_wide_change_is_a_dry_run_unless_a_person_says_otherwise():
    assert job_configs.AdoptConfig.model_validate({"everything": True}).dry_run


@pytest.mark.parametrize("url", ["https://shop.example/orders_pipeline/blob/main", "file"])
def test_code_references_open_the_lines_that_make_an_asset(monkeypatch: pytest.MonkeyPatch, url: str):
    monkeypatch.setenv("ORDERS_SOURCE_URL", url)
    graph = build_defs().get_repository_def().asset_graph
    held = graph.get(dg.AssetKey("order_board")).metadata["dagster/code_references"]
    (reference,) = held.code_references
    address = reference.file_path if url == "file" else reference.url
    assert re.search(r"orders_pipeline/defs/operations\.py(#L\d+)?$", address)
    assert address.startswith(str(ROOT) if url == "file" else f"{url}/orders_pipeline/")


def test_no_path_of_this_machine_is_shown_unless_a_developer_asks_for_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ORDERS_SOURCE_URL", raising=False)
    assets = [dg.AssetSpec("one")]
    assert with_source_links(assets) is assets
    graph = build_defs().get_repository_def().asset_graph
    assert str(ROOT) not in str([graph.get(key).metadata for key in graph.get_all_asset_keys()])
