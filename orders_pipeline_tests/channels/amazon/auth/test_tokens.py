"""Access tokens: obtained once for all, kept sealed, replaced in time, and final refusals told once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import requests
from pydantic import SecretStr
from sqlalchemy import text

from orders_pipeline.channels.amazon.auth.tokens import Issued, TokenCache, life_of
from orders_pipeline.channels.amazon.errors import (
    AmazonAuthError,
    AmazonClientInvalid,
    AmazonRevoked,
    AmazonRoleMissing,
    AmazonUnavailable,
)
from orders_pipeline.channels.amazon.timing import Deadline, Timing
from orders_pipeline.database.engine import Database
from orders_pipeline.vault.providers.keyring import LocalKeyring
from orders_pipeline_tests.channels.amazon.canned import Canned, CannedAmazon
from orders_pipeline_tests.channels.amazon.conftest import Naps, OpenCanned

HOUR = 3600.0


def cache_of(database: Database, keys: LocalKeyring, timing: Timing | None = None, grant: str = "g1") -> TokenCache:
    return TokenCache(
        database, keys, application_id="app", account_id="A1", region="na", grant=grant, timing=timing or Timing()
    )


class Mint:
    """Gives tokens, slowly, and counts them."""

    def __init__(self, life: float = HOUR, pause: float = 0.0) -> None:
        self.life, self.pause, self.given = life, pause, 0
        self.failure: Exception | None = None

    def __call__(self, _deadline: Deadline) -> Issued:
        if self.failure is not None:
            raise self.failure
        time.sleep(self.pause)
        self.given += 1
        return Issued(f"token-{self.given}", self.life)


def deadline() -> Deadline:
    return Timing().deadline(10)


def test_a_token_is_obtained_once_by_all_threads_and_processes(database: Database, keys: LocalKeyring) -> None:
    mint = Mint(pause=0.3)
    caches = [cache_of(database, keys) for _ in range(4)]  # each as another process would have it
    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(lambda n: caches[n % 4].current("access", mint, deadline()), range(8)))
    assert mint.given == 1
    assert set(tokens) == {"token-1"}


def test_the_table_holds_no_token_in_clear(database: Database, keys: LocalKeyring) -> None:
    token = cache_of(database, keys).current("access", Mint(), deadline())
    with database.begin() as connection:
        row = connection.execute(text("select * from vault.amazon_tokens")).one()
    assert token not in str([bytes(value) if isinstance(value, memoryview) else value for value in row])
    assert row.purpose == "access@na"


@pytest.mark.parametrize(("life", "kept"), [(3600.0, 3300.0), (100.0, 90.0)])
def test_a_token_is_replaced_five_minutes_early_or_a_tenth_of_a_short_life(
    database: Database, keys: LocalKeyring, naps: Naps, life: float, kept: float
) -> None:
    mint = Mint(life)
    cache = cache_of(database, keys, Timing(monotonic=naps.monotonic))
    cache.current("access", mint, deadline())
    naps.now += kept - 2
    assert cache.current("access", mint, deadline()) == "token-1"
    naps.now += 4
    with database.begin() as connection:
        connection.execute(
            text(
                "update vault.amazon_tokens set obtained_at = clock_timestamp() - make_interval(secs => :age), "
                "expires_at = clock_timestamp() + make_interval(secs => :left)"
            ),
            {"age": kept + 2, "left": life - kept - 2},
        )
    assert cache.current("access", mint, deadline()) == "token-2"


def test_a_refused_token_is_replaced_once_however_many_were_refused_it(database: Database, keys: LocalKeyring) -> None:
    mint = Mint(pause=0.1)
    caches = [cache_of(database, keys) for _ in range(3)]
    refused = {cache.current("access", mint, deadline()) for cache in caches}
    assert refused == {"token-1"}
    with ThreadPoolExecutor(3) as pool:
        tokens = set(pool.map(lambda cache: cache.replace("access", "token-1", mint, deadline()), caches))
    assert tokens == {"token-2"}
    assert mint.given == 2


def test_a_token_of_an_older_authorisation_is_not_used(database: Database, keys: LocalKeyring) -> None:
    mint = Mint()
    cache_of(database, keys, grant="old").current("access", mint, deadline())
    assert cache_of(database, keys, grant="new").current("access", mint, deadline()) == "token-2"


def test_an_outage_of_the_login_stops_nobody_whose_token_lives_on(
    database: Database, keys: LocalKeyring, naps: Naps
) -> None:
    mint = Mint()
    cache = cache_of(database, keys, Timing(monotonic=naps.monotonic))
    cache.current("access", mint, deadline())
    mint.failure = AmazonUnavailable("down", operation="Login with Amazon")
    with database.begin() as connection:
        connection.execute(
            text("update vault.amazon_tokens set expires_at = clock_timestamp() + interval '200 seconds'")
        )
    naps.now += 3400
    assert cache.current("access", mint, deadline()) == "token-1"
    with database.begin() as connection:
        connection.execute(text("update vault.amazon_tokens set expires_at = clock_timestamp()"))
    naps.now += 400
    with pytest.raises(AmazonUnavailable):
        cache.current("access", mint, deadline())


def test_a_token_sealed_under_a_key_that_is_gone_is_obtained_anew(
    database: Database, keys: LocalKeyring, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mint = Mint()
    cache_of(database, keys).current("access", mint, deadline())
    other_keys = LocalKeyring(tmp_path_factory.mktemp("other") / "keyring.json")
    assert cache_of(database, other_keys).current("access", mint, deadline()) == "token-2"


def test_during_a_rotation_the_new_secret_is_tried_first(open_canned: OpenCanned, amazon: CannedAmazon) -> None:
    client = open_canned(client_secret=SecretStr("secret-new"), previous_client_secret=SecretStr("secret-old"))
    amazon.login_answers = [
        Canned(401, {"error": "invalid_client", "error_description": "Client authentication failed"}),
        Canned(body={"access_token": "Atza|one", "expires_in": 3600}),
    ]
    assert client.tokens.current(deadline()) == "Atza|one"
    assert [login["client_secret"] for login in amazon.logins] == ["secret-new", "secret-old"]
    amazon.login_answers = [Canned(body={"access_token": "Atza|two", "expires_in": 3600})]
    client.tokens.replace("Atza|one", deadline())
    assert amazon.logins[-1]["client_secret"] == "secret-old"


@pytest.mark.parametrize(
    ("status", "code", "kind", "hint"),
    [
        (400, "invalid_grant", AmazonRevoked, "authorise the application again"),
        (401, "invalid_client", AmazonClientInvalid, "AMAZON_LWA_CLIENT_SECRET"),
        (400, "unauthorized_client", AmazonRoleMissing, "developer console"),
        (400, "invalid_scope", AmazonRoleMissing, "Production"),
        (400, "invalid_request", AmazonAuthError, "AMAZON_LWA_"),
    ],
)
def test_a_final_login_refusal_says_what_to_do_and_is_remembered(
    open_canned: OpenCanned, amazon: CannedAmazon, naps: Naps, status: int, code: str,
    kind: type[AmazonAuthError], hint: str,
) -> None:  # fmt: skip
    client = open_canned()
    amazon.login_answers = [Canned(status, {"error": code, "error_description": "Atzr|refresh is echoed here"})]
    for _ in range(3):
        with pytest.raises(kind) as caught:
            client.tokens.current(deadline())
        assert hint in str(caught.value)
        assert "Atzr|" not in str(caught.value)
    assert len(amazon.logins) == 1
    assert naps.slept == []
    naps.now += 61
    with pytest.raises(kind):
        client.tokens.current(deadline())
    assert len(amazon.logins) == 2


@pytest.mark.parametrize(
    "failure",
    [
        Canned(500, {"error": "server_error"}),
        Canned(503, text="<html>try later</html>"),
        Canned(error=requests.ConnectionError("reset")),
        Canned(error=requests.ReadTimeout("slow")),
        Canned(400, text=""),
    ],
)
def test_a_failing_login_is_tried_again_and_never_taken_for_a_revocation(
    open_canned: OpenCanned, amazon: CannedAmazon, naps: Naps, failure: Canned
) -> None:
    client = open_canned()
    amazon.login_answers = [failure, failure, Canned(body={"access_token": "Atza|late", "expires_in": 3600})]
    assert client.tokens.current(Timing(monotonic=naps.monotonic).deadline(60)) == "Atza|late"
    assert len(amazon.logins) == 3
    amazon.login_answers = [failure]
    with pytest.raises(AmazonUnavailable) as caught:
        client.tokens.replace("Atza|late", Timing(monotonic=naps.monotonic).deadline(60))
    assert "network" in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_success_without_a_token_is_a_failure_of_the_login_and_no_orders(
    open_canned: OpenCanned, amazon: CannedAmazon
) -> None:
    amazon.login_answers = [Canned(body={})]
    with pytest.raises(AmazonUnavailable, match="without an access token"):
        open_canned().tokens.current(deadline())


def test_a_waiter_gets_the_token_that_another_process_is_obtaining(database: Database, keys: LocalKeyring) -> None:
    slow, never = Mint(pause=0.5), Mint()
    never.failure = AssertionError("the second process asked too")
    got: list[str] = []
    first = threading.Thread(target=lambda: cache_of(database, keys).current("access", slow, deadline()))
    second = threading.Thread(target=lambda: got.append(cache_of(database, keys).current("access", never, deadline())))
    first.start()
    time.sleep(0.15)
    second.start()
    first.join()
    second.join()
    assert got == ["token-1"]


@pytest.mark.parametrize(
    ("told", "life"),
    [(3600, 3600.0), (10**400, 86_400.0), (1e308, 86_400.0), (float("inf"), 86_400.0), (1, 60.0), (0, 3600.0),
     (-5, 3600.0), (True, 3600.0), ("3600", 3600.0), (None, 3600.0)],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_a_token_lives_a_minute_at_least_and_a_day_at_most(told: object, life: float) -> None:
    assert life_of(told) == life


@pytest.mark.parametrize("told", [10**400, 1e308], ids=["integer", "float"])
def test_a_token_of_an_absurd_life_is_used_and_kept_for_a_day_at_most(
    database: Database, open_canned: OpenCanned, amazon: CannedAmazon, told: float
) -> None:
    amazon.life_seconds = told  # type: ignore[assignment]
    client = open_canned("v0")
    amazon.lay(Canned(body={"restrictedDataToken": "Atz.sprdt|1", "expiresIn": told}))
    assert client.restricted.current(client.transport.deadline(10)) == "Atz.sprdt|1"
    with database.begin() as connection:
        lives = connection.execute(text("select expires_at - obtained_at from vault.amazon_tokens")).scalars().all()
    assert len(lives) == 2
    assert max(lives) <= timedelta(days=1, seconds=1)
