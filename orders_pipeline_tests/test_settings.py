"""Settings: read and checked once; one error that names everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from orders_pipeline.settings import SettingsError, load_settings

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


def test_complete_settings_have_no_problem_and_derive_region_and_endpoints_from_the_marketplace():
    settings = load_settings({**COMPLETE, "AMAZON_MARKETPLACE_ID": "A1F83G8C2ARO7P, A1PA6795UKMFR9"})
    settings.require_complete()
    account = settings.require_amazon()
    assert account.region == "eu"
    assert account.spapi_endpoint == "https://sellingpartnerapi-eu.amazon.com"
    assert account.orders_api == "2026-01-01"


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
        ({"AMAZON_ORDERS_API": "v1"}, "use 2026-01-01 or v0"),
        ({"WMS_BASE_URL": "http://warehouse.example"}, "WMS_BASE_URL must be https"),
        ({"AMAZON_SPAPI_ENDPOINT": "http://10.0.0.1"}, "AMAZON_SPAPI_ENDPOINT must be https"),
        ({"WMS_ADAPTER": "pigeon"}, "use rest or tryton"),
        ({"AMAZON_SQS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/1/orders.fifo"}, "FIFO"),
        ({"ORDERS_DATABASE_URL": "mysql://localhost/orders"}, "must be a postgresql:// URL"),
        ({"ORDERS_KEYRING_FILE": "a", "ORDERS_KMS_KEY_ID": "b"}, "choose one"),
        ({"WMS_TOKEN": "", "WMS_TOKEN_FILE": "/nowhere/at/all"}, "WMS_TOKEN_FILE cannot be read"),
    ],
)
def test_what_is_wrong_is_said(wrong: dict[str, str], expected: str):
    with pytest.raises(SettingsError, match=expected):
        load_settings({**COMPLETE, **wrong}).require_complete()


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


def test_the_database_driver_is_always_named():
    settings = load_settings({**COMPLETE, "ORDERS_DATABASE_URL": "postgresql://u:p@db/orders"})
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql+psycopg2://u:p@db/orders"


def test_no_secret_is_in_the_settings_text_or_in_an_error():
    told = {**COMPLETE, "ORDERS_DATABASE_URL": "postgresql://u:the-password@db/orders", "AMAZON_REGION": "mars"}
    settings = load_settings(told)
    shown = repr(settings) + str(settings) + str(SettingsError(settings.problems))
    for secret in ("the-client-secret", "the-refresh-token", "the-warehouse-token", "the-password"):
        assert secret not in shown
