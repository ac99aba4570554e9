"""AMAZON_ACCOUNTS_FILE: each account is right or wrong by itself; no secret is in the file or in what is told."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from orders_pipeline.accounts_file import AccountEntry, SecretNames, json_schema, read_accounts
from orders_pipeline.settings import Settings, SettingsError, load_settings
from orders_pipeline_tests.read_source import ROOT

EXAMPLE = ROOT / "docs" / "accounts.example.yaml"
TOKEN = "Atzr|IwEBIcanaryToken"
# What all accounts of a test share, and no account's own.
SHARED = {
    "AMAZON_LWA_CLIENT_ID": "amzn1.application-oa2-client.example",
    "AMAZON_LWA_CLIENT_SECRET": "the-client-secret",
    "WMS_BASE_URL": "https://warehouse.example",
    "WMS_TOKEN": "the-warehouse-token",
    "ACME_TOKEN": TOKEN,
    "BIRCH_TOKEN": "Atzr|of-birch",
}
QUEUE = "https://sqs.eu-west-1.amazonaws.com/1/orders"
ACME: Mapping[str, Any] = {
    "account": "acme",
    "seller": "A1ACME",
    "marketplaces": ["A1PA6795UKMFR9", "A13V1IB3VIYZZH"],
    "queue": QUEUE,
    "secrets": {"refresh_token": "ACME_TOKEN"},
}
BIRCH: Mapping[str, Any] = {
    "seller": "A2BIRCH",
    "marketplaces": ["ATVPDKIKX0DER"],
    "queue": "https://sqs.us-east-1.amazonaws.com/1/birch",
    "secrets": {"refresh_token": "BIRCH_TOKEN"},
}


def read(folder: Path, *accounts: Mapping[str, Any], text: str | None = None, **environ: str) -> Settings:
    file = folder / "accounts.yaml"
    file.write_text(yaml.safe_dump({"accounts": [dict(one) for one in accounts]}) if text is None else text)
    return load_settings({**SHARED, "AMAZON_ACCOUNTS_FILE": str(file), **environ})


def test_the_schema_is_the_codes_and_takes_the_example_which_says_all_that_can_be_said():
    schema = (ROOT / "docs" / "accounts.schema.json").read_text("utf-8")
    assert schema == json_schema(), "run `make docs`"
    example = yaml.safe_load(EXAMPLE.read_text("utf-8"))
    for one in example["accounts"]:
        # YAML 1.1 alone makes a time of it; editors see a text.
        one.update({key: value.isoformat() for key, value in one.items() if isinstance(value, datetime)})
    jsonschema.validate(example, yaml.safe_load(schema))
    said = {key for one in example["accounts"] for key in one}
    assert said >= set(AccountEntry.model_fields) - {"spapi_endpoint", "lwa_endpoint"}
    assert {key for one in example["accounts"] for key in one["secrets"]} == set(SecretNames.model_fields)
    for wrong in ({"region": "mars"}, {"marketplaces": ["NOSUCHPLACE"]}, {"secrets": {"refresh_token": TOKEN}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"accounts": [{**ACME, **wrong}]}, yaml.safe_load(schema))


def test_the_example_is_served_once_its_variables_are_set():
    names = read_accounts(EXAMPLE).secret_names
    settings = load_settings({**SHARED, **dict.fromkeys(names, "x"), "AMAZON_ACCOUNTS_FILE": str(EXAMPLE)})
    settings.require_complete()
    told = [(one.account_id, one.region, one.marketplace_ids[0]) for one in settings.accounts()]
    assert told == [
        ("acme-eu", "eu", "A1PA6795UKMFR9"),
        ("acme-na", "na", "ATVPDKIKX0DER"),
        ("birch", "fe", "A1VC38T7YXB528"),
    ]
    _, stored, birch = settings.amazon_accounts()
    assert stored.refresh_token is None, "the vault has it"
    assert (birch.orders_api, birch.watch_fba, birch.regulated_skus) == ("v0", False, ("RX-*",))


def test_an_account_is_what_the_environments_one_account_would_be(tmp_path: Path):
    acme, birch = read(tmp_path, ACME, BIRCH, ORDERS_WATCH_FBA="false").amazon_accounts()
    assert (acme.account_id, birch.account_id) == ("acme", "A2BIRCH"), "by default the seller's id"
    alone = load_settings(
        {**SHARED, "AMAZON_LWA_REFRESH_TOKEN": "Atzr|of-birch", "AMAZON_SELLER_ID": "A2BIRCH",
         "AMAZON_MARKETPLACE_ID": "ATVPDKIKX0DER", "AMAZON_SQS_QUEUE_URL": BIRCH["queue"], "ORDERS_WATCH_FBA": "false"}
    ).require_amazon()  # fmt: skip
    assert birch.model_copy(update={"token_name": None}) == alone
    assert acme.spapi_endpoint == "https://sellingpartnerapi-eu.amazon.com"


def test_a_secret_comes_from_any_source_that_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in (*SHARED, "AMAZON_ACCOUNTS_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "accounts.yaml").write_text(yaml.safe_dump({"accounts": [dict(ACME), dict(BIRCH)]}))
    (tmp_path / "birch").write_text("Atzr|of-a-file\n")
    (tmp_path / "birch").chmod(0o600)
    shared = {**SHARED, "BIRCH_TOKEN": "", "AMAZON_ACCOUNTS_FILE": str(tmp_path / "accounts.yaml")}
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in shared.items()))
    monkeypatch.setenv("ORDERS_ENV_FILE", str(tmp_path / ".env"))
    monkeypatch.setenv("BIRCH_TOKEN_FILE", str(tmp_path / "birch"))
    tokens = [one.refresh_token for one in load_settings().amazon_accounts()]
    assert [one.get_secret_value() for one in tokens if one] == [TOKEN, "Atzr|of-a-file"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"marketplaces": ["A1PA6795UKMFR9", "ATVPDKIKX0DER"]}, "marketplaces mixes the regions eu, na"),
        ({"marketplaces": ["NOSUCHPLACE"]}, "marketplaces has unknown ids: NOSUCHPLACE"),
        ({"marketplaces": "A1PA6795UKMFR9"}, "marketplaces must be a list"),
        ({"marketplaces": []}, "marketplaces must name one at least"),
        ({"region": "fe"}, "region is fe, but the marketplaces are of region eu"),
        ({"region": "mars"}, "region must be na, eu or fe"),
        ({"queue": "http://sqs.eu-west-1.amazonaws.com/1/orders"}, "queue must be https"),
        ({"queue": QUEUE + ".fifo"}, "queue names a FIFO queue"),
        ({"start_at": "tomorrow"}, "start_at is 'tomorrow': write a time with its offset"),
        ({"watch_fba": "perhaps"}, "watch_fba must be true or false"),
        ({"orders_api": "v1"}, "orders_api must be 2026-01-01 or v0"),
        ({"lwa_endpoint": "http://10.0.0.1"}, "lwa_endpoint must be https"),
        ({"seller": ""}, "seller is missing"),
        ({"account": "acme, the shop"}, "account must be letters, digits, - and _"),
        ({"sellers": "A1"}, "sellers is not known here"),
        ({"secrets": {}}, "secrets.refresh_token is missing"),
        ({"secrets": {"refresh_token": "acme-token"}}, "secrets.refresh_token must be the NAME of a variable"),
        ({"secrets": {"refresh_token": "NO_SUCH_TOKEN"}}, "secrets.refresh_token: the variable NO_SUCH_TOKEN is not"),
        ({"secrets": {"refresh_token": "ACME_TOKEN", "client_id": "NO_ID"}}, "secrets.client_id: the variable NO_ID"),
    ],
)
def test_what_is_wrong_with_one_account_is_said_and_stops_that_one_alone(
    tmp_path: Path, wrong: Mapping[str, Any], said: str
):
    settings = read(tmp_path, {**ACME, **wrong}, BIRCH)
    (problem,) = settings.problems
    assert said in problem
    assert ("account acme:" in problem) or "account" in wrong, "the account is named"
    assert [one.account_id for one in settings.accounts()] == ["A2BIRCH"]
    settings.require_servable()
    with pytest.raises(SettingsError):
        settings.require_complete()
    with pytest.raises(SettingsError):
        read(tmp_path, {**ACME, **wrong}).require_servable()


def test_everything_that_is_wrong_is_said_at_once_with_its_line(tmp_path: Path):
    acme = {**ACME, "marketplaces": ["NOSUCHPLACE"], "queue": "orders", "more": "x", "secrets": {"refresh_token": "X"}}
    told = "\n".join(read(tmp_path, acme, {**BIRCH, "region": "eu"}, WMS_TOKEN="").problems)
    for said in (
        "missing WMS_TOKEN",
        "NOSUCHPLACE",
        "queue is not an http",
        "more is not known",
        "NAME",
        "A2BIRCH: line",
    ):
        assert said in told


@pytest.mark.parametrize(
    "put",
    [
        lambda secret: {"secrets": {"refresh_token": secret}},
        lambda secret: {"secrets": {"refresh_token": "ACME_TOKEN", "client_secret": secret}},
        lambda secret: {"secrets": secret},
        lambda secret: {"account": secret},
        lambda secret: {"seller": secret},
        lambda secret: {"marketplaces": [secret]},
        lambda secret: {"region": secret},
        lambda secret: {"start_at": secret},
        lambda secret: {"orders_api": secret},
        lambda secret: {"queue": f"https://{secret}@sqs.example/1/q"},
        lambda secret: {secret: "ACME_TOKEN"},
    ],
    ids=lambda put: next(iter(put("S"))),
)
@pytest.mark.parametrize("secret", [TOKEN, "amzn1.oa2-cs.v1.canary"])
def test_a_secret_in_place_of_a_name_is_refused_and_never_repeated(tmp_path: Path, put: Any, secret: str):
    settings = read(tmp_path, {**ACME, **put(secret)}, BIRCH)
    assert [one.account_id for one in settings.accounts()] == ["A2BIRCH"]
    told = repr(settings) + str(SettingsError(settings.problems))
    assert "not repeated here" in told
    assert "canary" not in told.lower()


def test_an_unknown_secret_in_place_of_a_name_is_not_repeated_either(tmp_path: Path):
    settings = read(tmp_path, {**ACME, "secrets": {"refresh_token": "hunter2-Canary"}}, BIRCH)
    assert "Canary" not in repr(settings) + str(SettingsError(settings.problems))


def test_of_two_accounts_with_one_id_neither_is_served(tmp_path: Path):
    settings = read(tmp_path, ACME, {**BIRCH, "account": "acme"}, {**BIRCH, "seller": "A3CEDAR"})
    assert [one.account_id for one in settings.accounts()] == ["A3CEDAR"]
    assert sum("another has the same id" in problem for problem in settings.problems) == 2


def test_one_seller_in_one_region_is_one_account(tmp_path: Path):
    again = {**ACME, "account": "acme-fr", "marketplaces": ["A13V1IB3VIYZZH"], "queue": QUEUE + "-fr"}
    settings = read(tmp_path, ACME, again, BIRCH)
    assert [one.account_id for one in settings.accounts()] == ["A2BIRCH"], "both would push the same orders"
    assert sum("the same seller in the same region" in problem for problem in settings.problems) == 2


def test_sellers_may_share_a_queue_and_the_regions_of_one_seller_may_not(tmp_path: Path):
    assert len(read(tmp_path, ACME, {**BIRCH, "queue": QUEUE}).accounts()) == 2
    in_america = {**BIRCH, "account": "acme-na", "seller": ACME["seller"]}
    assert len(read(tmp_path, ACME, in_america).accounts()) == 2, "each region has its queue"
    settings = read(tmp_path, ACME, {**in_america, "queue": QUEUE}, BIRCH)
    assert [one.account_id for one in settings.accounts()] == ["A2BIRCH"]
    assert "the same seller with the same queue" in " ".join(settings.problems)


@pytest.mark.parametrize(
    "text", ["", "accounts: []", "accounts: acme", "- acme", "[a, b]: c", "accounts: [", "others: []", "\x00"]
)
def test_a_file_of_which_nothing_can_be_told_serves_nobody_not_even_the_environments_account(tmp_path: Path, text: str):
    one = {
        "AMAZON_SELLER_ID": "A9", "AMAZON_MARKETPLACE_ID": "ATVPDKIKX0DER", "AMAZON_SQS_QUEUE_URL": QUEUE,
        "AMAZON_LWA_REFRESH_TOKEN": TOKEN,
    }  # fmt: skip
    with pytest.raises(SettingsError, match="AMAZON_ACCOUNTS_FILE"):
        read(tmp_path, text=text, **one).accounts()
    with pytest.raises(SettingsError, match=r"AMAZON_ACCOUNTS_FILE.*cannot be read"):
        load_settings({**SHARED, **one, "AMAZON_ACCOUNTS_FILE": str(tmp_path / "none")}).accounts()


@pytest.mark.parametrize("entry", ["acme", "[acme]", "{a: {a: {a: {a: {a: {a: {a: {a: {a: 1}}}}}}}}}", "&a [*a]"])
def test_an_entry_that_is_no_account_stops_no_other(tmp_path: Path, entry: str):
    birch = yaml.safe_dump([dict(BIRCH)])
    settings = read(tmp_path, text=f"accounts:\n- {entry}\n{birch}")
    assert [one.account_id for one in settings.accounts()] == ["A2BIRCH"]
    assert "account number 1 of the list" in " ".join(settings.problems)


def test_who_can_change_the_file_could_have_the_secrets_sent_elsewhere_so_it_is_refused():
    # Folders of pytest's keep others out, whatever a file's own mode is.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "accounts.yaml"
        assert read(Path(folder), ACME).problems == ()
        Path(folder).chmod(0o755)
        file.chmod(0o644)
        load_settings({**SHARED, "AMAZON_ACCOUNTS_FILE": str(file)}).require_complete()
        file.chmod(0o666)
        with pytest.raises(SettingsError, match="can be changed by others"):
            load_settings({**SHARED, "AMAZON_ACCOUNTS_FILE": str(file)}).accounts()


def test_what_the_file_replaces_is_said_not_to_be_read(tmp_path: Path):
    settings = read(tmp_path, ACME, AMAZON_SELLER_ID="A9OTHER", AMAZON_REGION="na")
    assert settings.problems == ()
    assert [one.seller_id for one in settings.accounts()] == ["A1ACME"]
    assert "AMAZON_SELLER_ID, AMAZON_REGION: not read" in " ".join(settings.warnings)
