"""What is said of every asset once, at the root."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest
from sqlalchemy import text

from orders_pipeline.database.engine import Database
from orders_pipeline.definitions import build_defs
from orders_pipeline.defs.columns import PII
from orders_pipeline.defs.policy import COMPLIANCE, POLICIES, with_policy


def _schemas() -> dict[str, dg.TableSchema]:
    graph = build_defs().get_repository_def().asset_graph
    metadata: dict[str, Any] = {name: graph.get(dg.AssetKey(name)).metadata for name in POLICIES}
    return {name: held["dagster/column_schema"] for name, held in metadata.items() if held}


def test_the_policy_names_the_assets_that_there_are():
    graph = build_defs().get_repository_def().asset_graph
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == POLICIES.keys()


def test_an_asset_without_a_policy_does_not_load():
    @dg.asset
    def newcomer() -> None:
        """Nobody has said whose it is."""

    with pytest.raises(KeyError, match="newcomer"):
        with_policy([newcomer])


def test_every_run_is_one_process():
    for job in build_defs().get_repository_def().get_all_jobs():
        assert job.executor_def is dg.in_process_executor, job.name


def test_the_columns_that_an_asset_shows_are_those_of_the_database(database: Database):
    schemas = _schemas()
    assert schemas.keys() == {name for name, policy in POLICIES.items() if policy.table is not None}
    with database.begin() as connection:
        for name, schema in schemas.items():
            table = POLICIES[name].table
            assert table is not None
            rows = connection.execute(
                text(
                    "select a.attname, not a.attnotnull from pg_attribute a "
                    "where a.attrelid = to_regclass(:table) and a.attnum > 0 and not a.attisdropped"
                ),
                {"table": table.fullname},
            )
            shown = {column.name: column.constraints.nullable for column in schema.columns}
            assert shown == {str(column): bool(nullable) for column, nullable in rows}, name
    comments = {column.name: column.description for column in schemas["order_events"].columns}
    assert comments["partition_day"] == "UTC day of published_at"
    assert {column.name: column.type for column in schemas["order_events"].columns}["details"] == "jsonb"


def test_compliance_owns_what_an_auditor_opens():
    graph = build_defs().get_repository_def().asset_graph
    ours = {name for name in POLICIES if set(graph.get(dg.AssetKey(name)).owners) == {COMPLIANCE}}
    assert ours == {"pii_access_log", "pii_retention", "audit_exports"}
    assert graph.get(dg.AssetKey("shipping_details")).tags["pii"] == "encrypted"


def test_every_column_that_leads_to_a_buyer_says_how_and_no_other_does():
    tags = {
        name: {column.name: column.tags.get("pii") for column in schema.columns} for name, schema in _schemas().items()
    }
    assert tags["shipping_details"]["ciphertext"] == "encrypted"
    assert tags["shipping_details"]["value_hashes"] == "keyed hashes"
    assert {name for columns in tags.values() for name, tag in columns.items() if tag} == PII.keys()
    assert all(columns["order_id"] == "pseudonym" for columns in tags.values() if "order_id" in columns)
    # A name, an address or a phone number has no column anywhere.
    words = {word for columns in tags.values() for name in columns for word in name.split("_")}
    assert words.isdisjoint({"name", "street", "city", "phone", "email", "buyer", "recipient"} - {"name"})
