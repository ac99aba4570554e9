"""Nothing leaves the machine in clear: an address that would is refused before anything connects."""

from __future__ import annotations

from pathlib import Path

import pytest

from orders_pipeline.database.connect import dagster_database_url, orders_database_url
from orders_pipeline.operations.serve import prepare_store
from orders_pipeline.settings import SettingsError, load_settings
from orders_pipeline.vault.providers.choice import open_key_provider

VERIFIED = "sslmode=verify-full"


def _problem(url: str, **more: str) -> str:
    """What is said of a database at this address; empty if it is accepted."""
    return "; ".join(load_settings({"ORDERS_DATABASE_URL": f"postgresql://shop:secret@{url}", **more}).refusals)


@pytest.mark.parametrize(
    "url",
    [
        "localhost/orders",
        "127.0.0.1:5433/orders",
        "[::1]/orders",
        "/orders",
        "/orders?host=%2Frun%2Fpostgresql",
        "/orders?host=127.0.0.1:1&host=localhost:2",
        f"db.internal/orders?{VERIFIED}",
        f"db.internal/orders?{VERIFIED}&sslrootcert=system&ssl_min_protocol_version=TLSv1.3",
        f"/orders?host=a.internal:1&host=b.internal:2&{VERIFIED}",
    ],
)
def test_a_database_on_this_machine_or_one_whose_certificate_is_verified_is_accepted(url: str):
    assert _problem(url) == ""


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("db.internal/orders", "sslmode is not set"),
        ("db.internal/orders?sslmode=disable", "sslmode is disable"),
        ("db.internal/orders?sslmode=allow", "sslmode is allow"),
        ("db.internal/orders?sslmode=prefer", "sslmode is prefer"),
        ("db.internal/orders?sslmode=require", "sslmode is require"),
        ("db.internal/orders?sslmode=verify-ca", "sslmode is verify-ca"),
        # Of several hosts any: the second is tried when the first is away.
        ("/orders?host=localhost:1&host=db.internal:2", "sslmode is not set"),
        ("localhost,db.internal/orders", "sslmode is not set"),
        ("/orders?host=%2Frun%2Fpostgresql,db.internal", "sslmode is not set"),
        # The host in the query, not the one before the path, is where libpq goes; hostaddr before either.
        ("localhost/orders?host=db.internal", "sslmode is not set"),
        ("localhost/orders?hostaddr=10.0.0.1", "sslmode is not set"),
        ("localhost/orders?service=shop", "sslmode is not set"),
        (f"db.internal/orders?{VERIFIED}&ssl_min_protocol_version=TLSv1", "TLS 1.2 is the oldest"),
        ("127.0.0.1.evil.example/orders", "sslmode is not set"),
    ],
)
def test_a_database_elsewhere_whose_certificate_is_not_verified_is_refused(url: str, why: str):
    told = _problem(url)
    assert why in told
    assert "sslmode=verify-full" in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("url", "environ", "accepted"),
    [
        ("/orders", {"PGHOST": "db.internal"}, False),
        ("/orders", {"PGHOSTADDR": "10.0.0.1"}, False),
        ("localhost/orders", {"PGHOST": "db.internal"}, True),
        ("/orders", {"PGSERVICE": "shop"}, False),
        ("db.internal/orders", {"PGSSLMODE": "verify-full"}, True),
        ("db.internal/orders", {"PGSSLMODE": "verify-full", "PGSERVICE": "shop"}, False),
        ("db.internal/orders?sslmode=prefer", {"PGSSLMODE": "verify-full"}, False),
        (f"db.internal/orders?{VERIFIED}", {"PGSSLMINPROTOCOLVERSION": "TLSv1.1"}, False),
    ],
)
def test_what_libpq_reads_from_its_own_variables_counts(url: str, environ: dict[str, str], accepted: bool):
    assert (_problem(url, **environ) == "") is accepted


@pytest.mark.parametrize("mode", ["require", "verify-ca"])
def test_encryption_without_proof_is_accepted_with_a_warning_where_a_setting_says_so(mode: str):
    settings = load_settings(
        {"DAGSTER_POSTGRES_URL": f"postgresql://db.internal/x?sslmode={mode}", "ORDERS_DATABASE_TLS": "require"}
    )
    assert settings.refusals == ()
    assert f"DAGSTER_POSTGRES_URL: sslmode is {mode}" in settings.warnings[0]
    assert _problem("db.internal/orders?sslmode=prefer", ORDERS_DATABASE_TLS="require") != ""
    assert _problem("db.internal/orders", ORDERS_DATABASE_TLS="require") != ""


@pytest.mark.parametrize(
    "setting",
    [
        {"ORDERS_DATABASE_URL": "postgresql://db.internal/orders"},
        {"DAGSTER_POSTGRES_URL": "postgresql://db.internal/dagster?sslmode=require"},
        {"AWS_ENDPOINT_URL_SQS": "http://sqs.internal:9324"},
        {"AWS_ENDPOINT_URL": "http://10.0.0.1"},
        {"ORDERS_DATABASE_URL": "mysql://db.internal/orders"},
        {"ORDERS_DATABASE_URL_FILE": "/nowhere/at/all"},
    ],
)
def test_every_process_refuses_at_its_first_use_and_none_takes_the_embedded_server_instead(
    setting: dict[str, str], tmp_path: Path
):
    settings = load_settings({**setting, "ORDERS_DATA_DIR": str(tmp_path)})
    for use in (
        orders_database_url,
        dagster_database_url,
        prepare_store,
        lambda settings: open_key_provider(settings, lambda: True),
        lambda settings: settings.require_amazon(),
        lambda settings: settings.require_complete(),
    ):
        with pytest.raises(SettingsError, match=next(iter(setting))):
            use(settings)
    assert list(tmp_path.iterdir()) == []


def test_an_alert_is_not_sent_in_clear():
    settings = load_settings({"SLACK_WEBHOOK_URL": "http://hooks.example/T0/B0/x"})
    assert settings.slack_webhook_url is None
    assert "SLACK_WEBHOOK_URL must be https" in " ".join(settings.problems)
