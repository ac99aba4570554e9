"""When a refused refresh token counts as revoked: then the account ends, and its buyers' data go within the day.

Amazon tells nobody of a revocation; `invalid_grant` is the only sign of one, and it has other causes. A mistyped token
never worked, so it ends nothing. A passing fault of Login with Amazon does not last for twelve hours. Where all
accounts of an application are refused at once, the application is to blame, or Amazon, and a person decides.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from orders_pipeline.channels.amazon.auth.authorizations import Authorization

# Half of the day within which the data have to go; the other half is for destroying them, here and at the warehouse.
REFUSED_FOR = timedelta(hours=12)
# They are asked for every ten minutes.
REFUSALS_AT_LEAST = 12
# The last refusal is no older: while nobody can ask, nothing is known.
REFUSED_WITHIN = timedelta(hours=1)
# So long a person's word counts that a refusal is no revocation; the policy leaves 30 days (§1.7).
KEPT_FOR = timedelta(days=7)


class Standing(StrEnum):
    """How an authorisation stands."""

    WORKS = "works"
    # Refused, and it never worked here: mistyped, cut short, or of another application.
    NEVER_WORKED = "never_worked"
    # Refused, and a person says that it is no revocation.
    KEPT = "kept"
    # Refused, not for long enough yet.
    REFUSED = "refused"
    # Refused for long enough, as every other account's is.
    ALL_REFUSED = "all_refused"
    REVOKED = "revoked"
    ENDED = "ended"


def ends_at(authorization: Authorization) -> datetime | None:
    """When a refusal that goes on counts as a revocation; None while nothing is refused."""
    if authorization.refused_since is None:
        return None
    end = authorization.refused_since + REFUSED_FOR
    return end if authorization.kept_until is None else max(end, authorization.kept_until)


def standing(authorization: Authorization, *, others_work: bool) -> Standing:
    """`others_work`: the application is not to blame: another account's token worked meanwhile, or there is none."""
    one = authorization
    if one.ended_at is not None:
        return Standing.ENDED
    end = ends_at(one)
    if end is None or one.refused_at is None:
        return Standing.WORKS
    if one.worked_at is None:
        return Standing.NEVER_WORKED
    if one.kept_until is not None and one.kept_until > one.now:
        return Standing.KEPT
    is_confirmed = one.refusals >= REFUSALS_AT_LEAST and one.refused_at >= one.now - REFUSED_WITHIN
    if one.now < end or not is_confirmed:
        return Standing.REFUSED
    return Standing.REVOKED if others_work else Standing.ALL_REFUSED
