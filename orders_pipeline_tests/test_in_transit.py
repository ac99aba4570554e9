"""Nothing leaves the machine in clear: an address that would is refused before anything connects."""

from __future__ import annotations

from pathlib import Path

import pytest

from orders_pipeline.database.connect import dagster_database_url, orders_database_url
from orders_pipeline.http.hosts import is_loopback
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
def test_a_local_or_certified_database_is_accepted(url: str):
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


@pytest.mark.parametrize(
    ("option", "named"),
    [
        # psycopg2's own argument: a whole connection string, beside what was checked.
        ("dsn=host%3Ddb.evil.example%20sslmode%3Ddisable", "dsn"),
        (f"{VERIFIED}&dsn=sslmode%3Ddisable", "dsn"),
        (f"{VERIFIED}&plugin=evil", "plugin"),
        ("servicefile=%2Ftmp%2Fservices", "servicefile"),
        ("sslkeylogfile=%2Ftmp%2Fkeys", "sslkeylogfile"),
        ("connection_factory=x", "connection_factory"),
        ("DSN=x", "DSN"),
        # Kerberos in the place of TLS.
        (f"{VERIFIED}&gssencmode=require", "gssencmode"),
        # Said twice, it has two readings.
        (f"{VERIFIED}&sslmode=disable", "sslmode"),
    ],
)
@pytest.mark.parametrize("host", ["", "localhost", "db.internal"])
def test_a_database_url_says_nothing_that_was_not_checked(option: str, named: str, host: str):
    told = _problem(f"{host}/orders?{option}")
    assert f"has the option {named}" in told
    assert "evil" not in told.replace("plugin", "")
    assert load_settings({"DAGSTER_POSTGRES_URL": f"postgresql://{host}/x?{option}"}).dagster_postgres_url is None


def test_options_that_lead_nowhere_else_are_accepted():
    options = "connect_timeout=5&application_name=orders&keepalives_idle=30&gssencmode=disable&options=-c%20jit%3Doff"
    assert _problem(f"db.internal/orders?{VERIFIED}&{options}&target_session_attrs=read-write&sslcert=a&sslkey=b") == ""


TWO_READINGS = [
    "http://evil.example\\@127.0.0.1/",
    "https://evil.example\\@good.example/",
    "http://127.0.0.1\\.evil.example/",
    "http://user:secret@127.0.0.1/",
    "https://shop@wms.example/",
    "https://wms.example/a b",
    "https://wms.example/\n",
    "https://wms.\texample/",
    "http://127.0.0.1\u3000/",
]


@pytest.mark.parametrize("url", TWO_READINGS)
def test_an_address_that_can_be_read_in_two_ways_is_refused_wherever_it_is_set(url: str):
    names = ("WMS_BASE_URL", "AMAZON_SPAPI_ENDPOINT", "AMAZON_LWA_ENDPOINT", "AMAZON_SQS_QUEUE_URL")
    names += ("SLACK_WEBHOOK_URL", "ORDERS_HEARTBEAT_URL", "ORDERS_UI_URL", "ORDERS_RUNBOOK_URL")
    amazon = {"AMAZON_LWA_CLIENT_ID": "x", "AMAZON_MARKETPLACE_ID": "ATVPDKIKX0DER"}
    told = "; ".join(load_settings({**amazon, **dict.fromkeys(names, url)}).problems)
    endpoints = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS")
    told += "; ".join(load_settings(dict.fromkeys(endpoints, url)).refusals)
    for name in (*names, *endpoints):
        assert f"{name} can be read in two ways" in told
    assert "evil" not in told
    assert "secret" not in told
    assert not is_loopback(url)


def test_a_queue_that_is_a_path_alone_names_no_other_host():
    for path in ("//evil.example/queue", "/\\evil.example/queue"):
        assert "AMAZON_SQS_QUEUE_URL" in " ".join(load_settings({"AMAZON_SQS_QUEUE_URL": path}).problems[1:])


@pytest.mark.parametrize("mode", ["require", "verify-ca"])
def test_unverified_encryption_is_accepted_only_by_a_setting(mode: str):
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
def test_every_process_refuses_an_unencrypted_database(setting: dict[str, str], tmp_path: Path):
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
    assert settings.alerts.slack_webhook_url is None
    assert "SLACK_WEBHOOK_URL must be https" in " ".join(settings.problems)
