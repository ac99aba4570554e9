"""Authorization of an account by its seller: ask for consent, take the code back, seal the refresh token.

The state is taken first, so that it counts once whatever follows; then the seller is looked at, and only then is the
code exchanged. Code and tokens are in no message, no log and no audit entry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from urllib.parse import parse_qs, urlsplit

from orders_pipeline.audit.redaction import register_secret
from orders_pipeline.channels.amazon.auth.authorizations import (
    CONSENT,
    TYPED,
    Authorization,
    authorization_of,
    grant_fingerprint,
    insert_authorization,
    mark_roles_changed,
    sealed_authorization,
)
from orders_pipeline.channels.amazon.auth.consent import (
    LONGEST_PARAMETER,
    Consent,
    StateProblem,
    ask_for_consent,
    consent_url,
    take_state,
)
from orders_pipeline.channels.amazon.auth.sealed import refresh_purpose, seal_token
from orders_pipeline.channels.amazon.errors import AmazonCodeRefused, AmazonError
from orders_pipeline.operations.deployment import Deployment, ServedAccount, UnknownAccount
from orders_pipeline.work.jobs import AMAZON
from orders_pipeline.work.pauses import note_success

CALLBACK_PATH = "/authorize/callback"
_SECONDS = 30.0


class Outcome(StrEnum):
    """What came of a consent that came back. The values stand in an address, and in the audit log."""

    DONE = "done"
    DENIED = "denied"
    STATE_UNKNOWN = "state_unknown"
    STATE_EXPIRED = "state_expired"
    STATE_USED = "state_used"
    OTHER_BROWSER = "other_browser"
    OTHER_PERSON = "other_person"
    OTHER_SELLER = "other_seller"
    CODE_REFUSED = "code_refused"
    NOT_REACHED = "not_reached"
    UNREADABLE = "unreadable"


WORDS: dict[Outcome, str] = {
    Outcome.DONE: "The account is authorized. Its refresh token is sealed in the vault, and is used from now on.",
    Outcome.DENIED: "The seller gave no consent: nothing has changed.",
    Outcome.STATE_UNKNOWN: "Nobody here asked for this consent: nothing has changed. Begin at /authorize.",
    Outcome.STATE_EXPIRED: "This consent came back after more than ten minutes: nothing has changed. Begin anew.",
    Outcome.STATE_USED: "This consent came back before, and counts once: nothing has changed now. Begin anew.",
    Outcome.OTHER_BROWSER: "Another browser asked for this consent: nothing has changed. Begin anew in this one.",
    Outcome.OTHER_PERSON: "Who asked for this consent has logged out, or may not authorize any more: nothing has "
    "changed. Log in, and begin anew.",
    Outcome.OTHER_SELLER: "Another seller gave this consent than the account's: nothing has changed. Log out of "
    "Seller Central, log in there as the account's seller, and begin anew.",
    Outcome.CODE_REFUSED: "Amazon does not take the consent's code any more (it lives five minutes): nothing has "
    "changed. Begin anew.",
    Outcome.NOT_REACHED: "Login with Amazon gave no refresh token for the consent: nothing has changed. The log says "
    "why; `orders-pipeline doctor` tells more. Begin anew.",
    Outcome.UNREADABLE: "This address does not hold a consent as Amazon sends it: nothing has changed. Begin anew.",
}
_PROBLEMS = {
    StateProblem.UNKNOWN: Outcome.STATE_UNKNOWN,
    StateProblem.EXPIRED: Outcome.STATE_EXPIRED,
    StateProblem.USED: Outcome.STATE_USED,
    StateProblem.OTHER_BROWSER: Outcome.OTHER_BROWSER,
}


class NotPossible(Exception):
    """Consent cannot be asked for; the message says what to set."""


class ConsentRefused(Exception):
    """What came back does not authorize anything; `outcome` says why."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(WORDS[outcome])


@dataclass(frozen=True, slots=True)
class Returned:
    """What Amazon sent a browser back with."""

    state: str = field(repr=False)
    seller_id: str
    code: str = field(repr=False)

    @property
    def is_denied(self) -> bool:
        return not self.code


@dataclass(frozen=True, slots=True)
class AccountAuthorization:
    """How an account stands. `is_stored`: its token is the sealed one; else the settings', which has no date."""

    account_id: str
    seller_id: str
    is_stored: bool
    authorization: Authorization | None

    @property
    def words(self) -> str:
        """A sentence for a person."""
        found = self.authorization
        if found is not None and found.ended_at is not None:
            return f"ended on {_day(found.ended_at)}: the seller took the authorization back"
        if found is not None and found.refused_since is not None:
            return f"refused by Login with Amazon since {found.refused_since:%Y-%m-%d %H:%M} UTC"
        if not self.is_stored:
            return "a refresh token from the settings: no date is known, neither of its authorization nor of its end"
        if found is None:
            return "not authorized yet"
        since = f"authorized on {_day(found.authorized_at)} by {found.authorized_by}"
        if found.due_at is None:
            return f"{since}; typed, so no end is known"
        because = "the application's roles changed" if found.due_because == "roles" else "365 days"
        return f"{since}; to be authorized again by {_day(found.due_at)} ({because})"


def read_returned(query: str) -> Returned | None:
    """What a callback's query says; None where it is none of Amazon's."""
    if len(query) > 4 * LONGEST_PARAMETER:
        return None
    try:
        fields = parse_qs(query, strict_parsing=True, max_num_fields=20)
    except ValueError:
        return None
    names = ("state", "selling_partner_id", "spapi_oauth_code")
    values = [fields.get(name, [""]) for name in names]
    if any(len(each) != 1 or len(each[0]) > LONGEST_PARAMETER for each in values):
        return None
    state, seller_id, code = (each[0] for each in values)
    # Who denies brings no code, and may bring no seller.
    return Returned(state, seller_id, code) if state and (seller_id or not code) else None


def account_authorizations(deployment: Deployment) -> list[AccountAuthorization]:
    """How each account stands."""
    found: list[AccountAuthorization] = []
    for account in deployment.accounts():
        given = account.settings.refresh_token
        with account.transaction() as tx:
            if given is None:
                authorization = sealed_authorization(tx)
            else:
                fingerprint = grant_fingerprint(account.settings.client_id, given.get_secret_value())
                authorization = authorization_of(tx, fingerprint)
        found.append(AccountAuthorization(account.account_id, account.settings.seller_id, given is None, authorization))
    return found


def begin_consent(
    account: ServedAccount, *, asked_by: str, redirect_uri: str, session_id: str | None, browser: str | None
) -> str:
    """The address of Amazon's consent page, for this account and person. Raises NotPossible."""
    settings = account.deployment.settings.application
    if settings.application_id is None:
        raise NotPossible(
            "Set AMAZON_APPLICATION_ID to the application's id (developer console, amzn1.sp.solution.…): Amazon's "
            "consent page asks for it. A private application is authorized in the developer console: give its refresh "
            "token to `orders-pipeline authorize --refresh-token-from -`."
        )
    with account.transaction() as tx:
        state = ask_for_consent(
            tx, asked_by=asked_by, redirect_uri=redirect_uri, session_id=session_id, browser=browser
        )
        account.audit.record(
            tx.connection, action="authorize", account_id=account.account_id, purpose="consent of the seller",
            outcome="asked", actor=asked_by,
        )  # fmt: skip
    return consent_url(settings, account.settings.marketplaces[0], state, redirect_uri)


def take_consent(deployment: Deployment, returned: Returned, browser: str | None) -> Consent:
    """Take the state, once and for all; for what it was asked. Raises ConsentRefused."""
    with deployment.database.begin() as connection:
        taken = take_state(connection, returned.state, browser)
    if taken.problem is not None:
        outcome = _PROBLEMS[taken.problem]
        if taken.consent is not None:
            refuse_consent(deployment, taken.consent, outcome)
        raise ConsentRefused(outcome)
    assert taken.consent is not None
    return taken.consent


def refuse_consent(deployment: Deployment, consent: Consent, outcome: Outcome) -> None:
    """Note in the audit log that a consent that somebody asked for did not count."""
    deployment.audit.record(
        None, action="authorize", account_id=consent.account_id, purpose="consent of the seller",
        outcome=str(outcome), actor=consent.asked_by,
    )  # fmt: skip


def finish_consent(deployment: Deployment, consent: Consent, returned: Returned) -> ServedAccount:
    """Exchange the code and seal what comes of it. Raises ConsentRefused; AmazonUnavailable is one of its reasons."""
    if returned.is_denied:
        raise _refused(deployment, consent, Outcome.DENIED)
    try:
        account = deployment.account(consent.account_id)
    except UnknownAccount:
        raise _refused(deployment, consent, Outcome.STATE_UNKNOWN) from None
    if returned.seller_id != account.settings.seller_id:
        raise _refused(deployment, consent, Outcome.OTHER_SELLER)
    # Whoever logs it from here on, by whatever way.
    register_secret(returned.code)
    amazon = account.amazon
    try:
        consented = amazon.login.exchange_code(returned.code, consent.redirect_uri, amazon.transport.deadline(_SECONDS))
    except AmazonCodeRefused:
        raise _refused(deployment, consent, Outcome.CODE_REFUSED) from None
    except AmazonError as error:
        raise _refused(deployment, consent, Outcome.NOT_REACHED) from error
    seal_refresh_token(account, consented.refresh_token, source=CONSENT, actor=consent.asked_by)
    return account


def exchange_typed_code(account: ServedAccount, code: str, redirect_uri: str, *, actor: str) -> None:
    """A code that a person typed at the terminal, with no state to look at. Raises AmazonError."""
    register_secret(code)
    amazon = account.amazon
    consented = amazon.login.exchange_code(code, redirect_uri, amazon.transport.deadline(_SECONDS))
    seal_refresh_token(account, consented.refresh_token, source=CONSENT, actor=actor)


def take_typed_token(account: ServedAccount, refresh_token: str, *, actor: str) -> None:
    """A refresh token that Seller Central showed (self-authorization). Raises AmazonError, and then stores nothing."""
    register_secret(refresh_token)
    amazon = account.amazon
    amazon.login.try_refresh_token(refresh_token, amazon.transport.deadline(_SECONDS))
    seal_refresh_token(account, refresh_token, source=TYPED, actor=actor)


def seal_refresh_token(account: ServedAccount, refresh_token: str, *, source: str, actor: str) -> None:
    """Seal a token that works, and let what waited for the account go on. Raises VaultError."""
    register_secret(refresh_token)
    settings = account.settings
    with account.transaction() as tx:
        seal_token(
            tx,
            account.deployment.keys,
            application_id=settings.client_id,
            purpose=refresh_purpose(settings.region),
            token=refresh_token,
        )
        insert_authorization(tx, grant_fingerprint(settings.client_id, refresh_token), source=source, by=actor)
        note_success(tx, AMAZON)
        account.audit.record(
            tx.connection, action="authorize", account_id=account.account_id,
            purpose="consent of the seller" if source == CONSENT else "self-authorization",
            outcome=str(Outcome.DONE), actor=actor, detail={"source": source},
        )  # fmt: skip


def roles_changed(deployment: Deployment) -> int:
    """A person says that the application's roles changed: every account is due; how many."""
    due = 0
    for account in deployment.accounts():
        with account.transaction() as tx:
            due += mark_roles_changed(tx)
            account.audit.record(
                tx.connection, action="authorize", account_id=account.account_id, purpose="changed roles",
                outcome="due",
            )  # fmt: skip
    return due


def typed_return(text: str) -> Returned | str:
    """What a person pasted: the address that Amazon sent the browser to, or the code alone. Raises ConsentRefused."""
    pasted = text.strip()
    if "spapi_oauth_code=" not in pasted and "error=" not in pasted:
        if not pasted or len(pasted) > LONGEST_PARAMETER or not pasted.isprintable() or " " in pasted:
            raise ConsentRefused(Outcome.UNREADABLE)
        return pasted
    returned = read_returned(urlsplit(pasted).query)
    if returned is None:
        raise ConsentRefused(Outcome.UNREADABLE)
    return returned


def _refused(deployment: Deployment, consent: Consent, outcome: Outcome) -> ConsentRefused:
    refuse_consent(deployment, consent, outcome)
    return ConsentRefused(outcome)


def _day(at: datetime | None) -> str:
    return "an unknown day" if at is None else f"{at:%Y-%m-%d}"
