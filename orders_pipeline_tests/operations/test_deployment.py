"""Accounts come and go while a process stays up: what is open is used on, and nobody is forgotten by mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from orders_pipeline.operations.deployment import Deployment, FollowingDeployment
from orders_pipeline.settings import Settings, load_settings

ENTRIES: Mapping[str, Mapping[str, object]] = {
    name: {
        "account": name,
        "seller": f"A1{name.upper()}",
        "marketplaces": ["ATVPDKIKX0DER"],
        "queue": f"https://sqs.us-east-1.amazonaws.com/1/{name}",
        "secrets": {"refresh_token": "SOME_TOKEN"},
    }
    for name in ("acme", "birch")
}


def settings(folder: Path, accounts: Sequence[str], **more: str) -> Settings:
    file = folder / "accounts.yaml"
    file.write_text(yaml.safe_dump({"accounts": [dict(ENTRIES[name]) for name in accounts]}))
    return load_settings(
        {
            "AMAZON_LWA_CLIENT_ID": "amzn1.application-oa2-client.example",
            "AMAZON_LWA_CLIENT_SECRET": "the-client-secret",
            "SOME_TOKEN": "Atzr|the-token",
            "WMS_BASE_URL": "https://warehouse.example",
            "WMS_TOKEN": "the-warehouse-token",
            "ORDERS_DATABASE_URL": "postgresql://127.0.0.1/orders",
            "ORDERS_DATA_DIR": str(folder / "data"),
            "AMAZON_ACCOUNTS_FILE": str(file),
            **more,
        }
    )


def test_an_account_that_comes_costs_no_new_connections_and_no_new_session_of_the_others(tmp_path: Path):
    before = Deployment(settings(tmp_path, ["acme"]))
    acme = before.account("acme")
    session, queue = acme.amazon.session, acme.queue
    after = Deployment(settings(tmp_path, ["acme", "birch"]), before)
    assert after.account_ids() == ("acme", "birch")
    assert after.database is before.database
    assert (after.account("acme").amazon.session, after.account("acme").queue) == (session, queue)
    assert after.account("birch").amazon.session is not session
    elsewhere = Deployment(settings(tmp_path, ["acme"], ORDERS_DATABASE_URL="postgresql://127.0.0.1/other"), after)
    assert elsewhere.database is not before.database
    assert elsewhere.account("acme").amazon.session is not session


def test_a_process_that_stays_up_serves_the_accounts_that_the_settings_name_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(FollowingDeployment, "READ_EVERY_SECONDS", 0.0)
    named = ["acme"]
    deployment = FollowingDeployment(settings(tmp_path, named), lambda: settings(tmp_path, named))
    assert deployment.account_ids() == ("acme",)
    named[:] = ["birch", "acme"]
    assert deployment.account_ids() == ("birch", "acme")
    named[:] = []
    assert deployment.account_ids() == ("birch", "acme"), "a file that names nobody is a slip"
    named[:] = ["birch"]
    assert deployment.account_ids() == ("birch",)
