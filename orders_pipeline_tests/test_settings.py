"""Settings: read and checked once; one error that names everything."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from orders_pipeline.database.connect import dagster_database_url, orders_database_url
from orders_pipeline.model.account import Account
from orders_pipeline.settings import SettingsError, load_settings
from orders_pipeline.settings_sources import SecretsManager
from orders_pipeline.vault.providers.choice import open_key_provider
from orders_pipeline_tests.aws import ThreadedServer

COMPLETE = {
    "AMAZON_LWA_CLIENT_ID": "amzn1.application-oa2-client.example",
    "AMAZON_LWA_CLIENT_SECRET": "the-client-secret",
    "AMAZON_LWA_REFRESH_TOKEN": "Atzr|the-refresh-token",
    "AMAZON_SELLER_ID": "A3TH9S8BH6GOGM",
    "AMAZON_MARKETPLACE_ID": "ATVPDKIKX0DER",
    "AMAZON_SQS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/1/orders",
    "WMS_BASE_URL": "https://warehouse.example",
    "WMS_TOKEN": "the-warehouse-token",
}


def test_region_and_endpoints_are_derived_from_the_marketplace():
    settings = load_settings({**COMPLETE, "AMAZON_MARKETPLACE_ID": "A1F83G8C2ARO7P, A1PA6795UKMFR9"})
    settings.require_complete()
    account = settings.require_amazon()
    assert account.region == "eu"
    assert account.spapi_endpoint == "https://sellingpartnerapi-eu.amazon.com"
    assert account.orders_api == "2026-01-01"


def test_the_start_is_a_time_with_its_offset_kept_in_utc():
    account = load_settings({**COMPLETE, "ORDERS_START_AT": "2026-11-24T06:00:00+01:00"}).require_amazon()
    assert account.start_at == datetime(2026, 11, 24, 5, tzinfo=UTC)
    assert load_settings(COMPLETE).require_amazon().start_at is None


@pytest.mark.parametrize("wrong", ["2026-11-24", "2026-11-24T06:00:00", "tomorrow"])
def test_a_start_that_could_be_read_in_two_ways_is_refused(wrong: str):
    with pytest.raises(SettingsError, match=r"ORDERS_START_AT is .*offset"):
        load_settings({**COMPLETE, "ORDERS_START_AT": wrong}).require_complete()


def test_one_error_names_every_missing_variable():
    with pytest.raises(SettingsError) as caught:
        load_settings({}).require_complete()
    for name in COMPLETE:
        assert name in str(caught.value)


@pytest.mark.parametrize("name", COMPLETE)
def test_each_required_variable_is_required_and_empty_is_missing(name: str):
    with pytest.raises(SettingsError, match=name):
        load_settings({**COMPLETE, name: ""}).require_complete()


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"AMAZON_MARKETPLACE_ID": "ATVPDKIKX0DER,A1F83G8C2ARO7P"}, "mixes the regions eu, na"),
        ({"AMAZON_MARKETPLACE_ID": "NOSUCHPLACE"}, "unknown ids: NOSUCHPLACE"),
        ({"AMAZON_REGION": "fe"}, "of region na"),
        ({"AMAZON_REGION": "mars"}, "use na, eu or fe"),
        ({"AMAZON_MARKETPLACE_ID": ",", "AMAZON_REGION": "na"}, "names no marketplace"),
        ({"AMAZON_ORDERS_API": "v1"}, "use 2026-01-01 or v0"),
        ({"WMS_BASE_URL": "http://warehouse.example"}, "WMS_BASE_URL must be https"),
        ({"AMAZON_SQS_QUEUE_URL": "http://sqs.us-east-1.amazonaws.com/1/orders"}, "AMAZON_SQS_QUEUE_URL must be https"),
        ({"AMAZON_SQS_QUEUE_URL": "orders"}, "AMAZON_SQS_QUEUE_URL is not an http"),
        ({"AWS_ENDPOINT_URL_SQS": "http://sqs.internal:9324"}, "AWS_ENDPOINT_URL_SQS must be https"),
        ({"AWS_ENDPOINT_URL": "http://10.0.0.1"}, "AWS_ENDPOINT_URL must be https"),
        ({"AMAZON_SPAPI_ENDPOINT": "http://10.0.0.1"}, "AMAZON_SPAPI_ENDPOINT must be https"),
        ({"WMS_ADAPTER": "pigeon"}, "use rest or tryton"),
        ({"WMS_ADAPTER": "tryton", "WMS_TOKEN": "secret"}, "WMS_TOKEN must be user:password"),
        ({"WMS_ADAPTER": "tryton", "WMS_TOKEN": "a:b", "WMS_BASE_URL": "https://tryton.example/"}, "names no database"),
        ({"AMAZON_SQS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/1/orders.fifo"}, "FIFO"),
        ({"ORDERS_DATABASE_URL": "mysql://localhost/orders"}, "must be a postgresql:// URL"),
        ({"ORDERS_KEYRING_FILE": "a", "ORDERS_KMS_KEY_ID": "b"}, "choose one"),
        ({"WMS_TOKEN": "", "WMS_TOKEN_FILE": "/nowhere/at/all"}, "WMS_TOKEN_FILE cannot be read"),
    ],
)
def test_what_is_wrong_is_said(wrong: dict[str, str], expected: str):
    with pytest.raises(SettingsError, match=expected):
        load_settings({**COMPLETE, **wrong}).require_complete()


def test_all_that_is_missing_and_all_that_is_wrong_is_said_at_once():
    wrong = {"AMAZON_MARKETPLACE_ID": "NOSUCHPLACE", "AMAZON_SQS_QUEUE_URL": "orders", "ORDERS_WEB_LISTEN": "0.0.0.0"}
    told = "; ".join(load_settings({**COMPLETE, **wrong, "AMAZON_SELLER_ID": "", "WMS_ADAPTER": "pigeon"}).problems)
    for said in (
        "missing AMAZON_SELLER_ID;",
        "NOSUCHPLACE",
        "AMAZON_SQS_QUEUE_URL is not",
        "pigeon",
        "lets anybody in",
    ):
        assert said in told


def test_of_two_places_for_the_keys_the_service_counts_until_one_is_chosen():
    settings = load_settings({**COMPLETE, "ORDERS_KEYRING_FILE": "a", "ORDERS_KMS_KEY_ID": "b"})
    assert (settings.kms_key_id, settings.keyring_file) == ("b", None)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost:1", "[::1]:1"])
def test_http_is_accepted_on_loopback(host: str):
    load_settings({**COMPLETE, "WMS_BASE_URL": f"http://{host}"}).require_complete()


def test_a_secret_may_come_from_a_file(tmp_path: Path):
    (tmp_path / "token").write_text("from-the-file\n")
    settings = load_settings({**COMPLETE, "WMS_TOKEN": "", "WMS_TOKEN_FILE": str(tmp_path / "token")})
    assert settings.require_warehouse().token.get_secret_value() == "from-the-file"


def test_during_a_rotation_the_new_secret_is_tried_before_the_old():
    settings = load_settings({**COMPLETE, "AMAZON_LWA_CLIENT_SECRET_PREVIOUS": "the-old-secret"})
    secrets = [secret.get_secret_value() for secret in settings.require_amazon().client_secrets]
    assert secrets == ["the-client-secret", "the-old-secret"]


def test_webhooks_have_no_secret_one_or_two_and_none_is_shown(tmp_path: Path):
    def secrets(**given: str) -> list[str]:
        settings = load_settings({**COMPLETE, **given})
        assert "first-secret" not in repr(settings) + str(settings.problems)
        return [one.get_secret_value() for one in settings.require_warehouse().webhook_secrets]

    file = tmp_path / "webhooks"
    file.write_text("first-secret\n")
    file.chmod(0o600)
    assert secrets() == secrets(WMS_WEBHOOK_SECRET=" , ") == []
    assert secrets(WMS_WEBHOOK_SECRET_FILE=str(file)) == ["first-secret"]
    assert secrets(WMS_WEBHOOK_SECRET=" first-secret ,second") == ["first-secret", "second"]
    with pytest.raises(SettingsError, match="WMS_WEBHOOK_SECRET has more than two secrets"):
        secrets(WMS_WEBHOOK_SECRET="first-secret,second,third")


def test_the_database_driver_is_always_named():
    settings = load_settings({**COMPLETE, "ORDERS_DATABASE_URL": "postgresql://u:p@localhost/orders"})
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql+psycopg2://u:p@localhost/orders"


def test_no_secret_is_in_the_settings_text_or_in_an_error():
    told = {**COMPLETE, "ORDERS_DATABASE_URL": "postgresql://u:the-password@db/orders", "AMAZON_REGION": "mars"}
    settings = load_settings(told)
    shown = repr(settings) + str(settings) + str(SettingsError(settings.problems))
    for secret in ("the-client-secret", "the-refresh-token", "the-warehouse-token", "the-password"):
        assert secret not in shown


# --- AWS Secrets Manager, spoken over HTTP

SECRET = {"AMAZON_LWA_CLIENT_SECRET": "of-the-manager", "WMS_TOKEN": "of-the-manager"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with ThreadedServer() as url:
        yield url


@pytest.fixture
def manager(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], str]:
    """Stores an object as a new secret; its ARN."""
    for name, value in {
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(SecretsManager, "_answers", {})

    def store(content: object) -> str:
        client: Any = boto3.client("secretsmanager")
        return client.create_secret(Name=uuid4().hex, SecretString=json.dumps(content))["ARN"]

    return store


def test_secrets_come_from_the_manager_where_nothing_else_names_them(manager: Callable[[object], str], tmp_path: Path):
    arn = manager(SECRET)
    (tmp_path / "token").write_text("of-the-file\n")
    # A copied .env.example has blank lines: they say nothing.
    settings = load_settings(
        {**COMPLETE, "AMAZON_LWA_CLIENT_SECRET": "", "WMS_TOKEN": " ", "WMS_TOKEN_FILE": str(tmp_path / "token"),
         "ORDERS_SECRETS_ARN": arn}
    )  # fmt: skip
    assert settings.require_amazon().client_secrets[0].get_secret_value() == "of-the-manager"
    assert settings.require_warehouse().token.get_secret_value() == "of-the-file", "what is named here alone wins"
    assert load_settings({**COMPLETE, "ORDERS_SECRETS_ARN": arn}).require_warehouse().token.get_secret_value() == (
        "the-warehouse-token"
    )


def test_the_manager_is_asked_once_in_a_while_and_what_it_said_outlives_its_absence(
    manager: Callable[[object], str], monkeypatch: pytest.MonkeyPatch
):
    values = {**COMPLETE, "WMS_TOKEN": "", "ORDERS_SECRETS_ARN": manager(SECRET)}
    assert load_settings(values).problems == ()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert load_settings(values).problems == (), "it was not asked again"
    monkeypatch.setattr(SecretsManager, "TRUSTED_SECONDS", 0.0)
    assert load_settings(values).require_warehouse().token.get_secret_value() == "of-the-manager"

    def asked(*arguments: object, **named: object) -> None:
        pytest.fail("a manager that is away holds up no second tick")

    monkeypatch.setattr("orders_pipeline.settings_sources.aws_client", asked)
    assert load_settings(values).require_warehouse().token.get_secret_value() == "of-the-manager"


def test_a_manager_that_was_away_from_the_start_is_asked_once_in_a_while_too(
    manager: Callable[[object], str], monkeypatch: pytest.MonkeyPatch
):
    values = {**COMPLETE, "ORDERS_SECRETS_ARN": manager(SECRET)}
    asked: list[str] = []

    def away(service: str, **_: object) -> None:
        asked.append(service)
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    with monkeypatch.context() as patched:
        patched.setattr("orders_pipeline.settings_sources.aws_client", away)
        # One tick reads the settings several times; each would wait for the time-outs.
        for _ in range(3):
            with pytest.raises(SettingsError, match="ORDERS_SECRETS_ARN could not be read"):
                load_settings(values).require_amazon()
    assert asked == ["secretsmanager"]
    monkeypatch.setattr(SecretsManager, "RETRY_SECONDS", 0.0)
    assert load_settings(values).require_amazon().client_secrets[0].get_secret_value()


@pytest.mark.parametrize("content", [None, ["a list"], "text"])
def test_a_secret_that_cannot_be_read_is_no_reason_to_use_a_default(
    manager: Callable[[object], str], tmp_path: Path, content: object
):
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:none" if content is None else manager(content)
    settings = load_settings({**COMPLETE, "ORDERS_SECRETS_ARN": arn, "ORDERS_DATA_DIR": str(tmp_path)})
    # Everything else is there; but which keys, and which database, nobody knows.
    for use in (settings.require_amazon, settings.require_warehouse):
        with pytest.raises(SettingsError, match="ORDERS_SECRETS_ARN"):
            use()
    for uses in (open_key_provider, orders_database_url, dagster_database_url):
        with pytest.raises(SettingsError, match="ORDERS_SECRETS_ARN"):
            uses(settings)
    assert list(tmp_path.iterdir()) == []


def test_a_secret_file_that_is_no_text_is_named_without_its_content(tmp_path: Path):
    (tmp_path / "token").write_bytes(b"\xff\xfe the-binary-token")
    with pytest.raises(SettingsError, match="WMS_TOKEN_FILE") as caught:
        load_settings({**COMPLETE, "WMS_TOKEN": "", "WMS_TOKEN_FILE": str(tmp_path / "token")}).require_complete()
    assert "the-binary-token" not in repr(caught.value)


@pytest.mark.parametrize("password", ["Correct@Horse9", "s3cr:et@Horse:Battery9"])
def test_a_password_that_would_change_the_host_is_refused(password: str):
    settings = load_settings({**COMPLETE, "ORDERS_DATABASE_URL": f"postgresql://shop:{password}@db.internal/orders"})
    told = " ".join(settings.problems)
    assert "percent-encode" in told
    assert "Horse" not in told
    encoded = load_settings({**COMPLETE, "ORDERS_DATABASE_URL": "postgresql://shop:Correct%40Horse9@localhost/x"})
    assert encoded.problems == ()


def test_an_audit_export_is_a_folder_or_a_bucket():
    assert load_settings(COMPLETE).audit_export is None
    assert load_settings({**COMPLETE, "ORDERS_AUDIT_EXPORT": "s3://bucket/p"}).audit_export == "s3://bucket/p"
    assert load_settings({**COMPLETE, "ORDERS_AUDIT_EXPORT": "/srv/audit"}).problems == ()


def test_a_blank_line_in_the_environment_hides_no_value_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "workspace.yaml").touch()
    (tmp_path / ".env").write_text("WMS_TOKEN=of-the-file\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WMS_TOKEN", "")
    assert not any("WMS_TOKEN" in problem for problem in load_settings().problems)


def test_a_file_that_is_named_takes_the_place_of_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """How `make demo` keeps a real deployment's settings away: they are in .env, and an empty variable hides none."""
    (tmp_path / "workspace.yaml").touch()
    (tmp_path / ".env").write_text("ORDERS_DATABASE_URL=postgresql://user@127.0.0.1/real\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERS_DATABASE_URL", "")
    assert load_settings().database_url is not None
    monkeypatch.setenv("ORDERS_ENV_FILE", os.devnull)
    assert load_settings().database_url is None


# --- the order of the sources


def test_the_nearest_source_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def token(env_file: str, **environment: str) -> str:
        (tmp_path / ".env").write_text(env_file)
        for name in ("WMS_TOKEN", "WMS_TOKEN_FILE"):
            monkeypatch.setenv(name, environment.get(name, ""))
        return load_settings().require_warehouse().token.get_secret_value()

    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ORDERS_ENV_FILE", str(tmp_path / ".env"))
    (tmp_path / "near").write_text("of-a-file-of-the-environment")
    (tmp_path / "far").write_text("of-a-file-of-dotenv")
    near, far = str(tmp_path / "near"), f"WMS_TOKEN_FILE={tmp_path / 'far'}\n"
    both = f"WMS_TOKEN=of-dotenv\n{far}"
    assert token(both, WMS_TOKEN="of-the-environment", WMS_TOKEN_FILE=near) == "of-the-environment"
    assert token(both, WMS_TOKEN_FILE=near) == "of-a-file-of-the-environment"
    assert token(both) == "of-dotenv"
    assert token(far) == "of-a-file-of-dotenv"


def test_a_file_that_cannot_be_read_is_told_of_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ORDERS_ENV_FILE", os.devnull)
    monkeypatch.setenv("WMS_TOKEN_FILE", str(tmp_path / "none"))
    assert [problem for problem in load_settings().problems if "WMS_TOKEN_FILE" in problem] == [
        "WMS_TOKEN_FILE cannot be read (No such file or directory)"
    ]


def test_what_libpq_would_not_read_from_dotenv_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / ".env").write_text("PGSSLMODE=verify-full\n")
    monkeypatch.setenv("ORDERS_ENV_FILE", str(tmp_path / ".env"))
    monkeypatch.setenv("ORDERS_DATABASE_URL", "postgresql://db.internal/orders")
    assert "sslmode is not set" in " ".join(load_settings().refusals)


def test_only_a_variables_whole_name_sets_anything():
    """A field's name, in whatever case, is no variable."""
    others = {"problems": "x", "refusals": "x", "amazon": "x", "data_dir": "/x", "reports": "x", "wms_token": "x"}
    assert load_settings({**COMPLETE, **others}) == load_settings(COMPLETE)


def test_no_source_shows_a_value_when_the_library_is_told_to_debug(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("PYDANTIC_SETTINGS_DEBUG", "1")
    with caplog.at_level("DEBUG", logger="pydantic_settings"):
        load_settings(COMPLETE)
    assert "AMAZON_LWA_REFRESH_TOKEN" in caplog.text
    for value in COMPLETE.values():
        assert value not in caplog.text


# --- accounts


def test_the_environment_gives_one_account_without_its_secrets():
    (account,) = load_settings({**COMPLETE, "AMAZON_MARKETPLACE_ID": "A1F83G8C2ARO7P,A1PA6795UKMFR9"}).accounts()
    assert account == Account(
        account_id="A3TH9S8BH6GOGM",
        seller_id="A3TH9S8BH6GOGM",
        region="eu",
        marketplace_ids=("A1F83G8C2ARO7P", "A1PA6795UKMFR9"),
        queue_url="https://sqs.us-east-1.amazonaws.com/1/orders",
        orders_api="2026-01-01",
    )
    assert "the-" not in repr(account)


def test_no_account_is_served_in_part():
    with pytest.raises(SettingsError, match="missing AMAZON_SELLER_ID"):
        load_settings({**COMPLETE, "AMAZON_SELLER_ID": ""}).accounts()
