"""The life of a package between the warehouse and Amazon."""

from __future__ import annotations

from enum import StrEnum


class PackageState(StrEnum):
    """Where a package is. The word in the table is the word here."""

    PENDING = "pending"  # Amazon is to be told (or told again)
    SENDING = "sending"  # a call was begun; what came of it is not known: read back before repeating
    SENT = "sent"  # Amazon answered 204 (or refused): what it shows is still to be read
    CONFIRMED = "confirmed"  # seen in Amazon's own answer
    HELD = "held"  # it cannot be told to Amazon as it is: a person must act
    REFUSED = "refused"  # Amazon refuses it, and does not show it: a person must act
    DROPPED = "dropped"  # Amazon accepted it again and again and never shows it: a person must act
    BLOCKED = "blocked"  # its order is cancelled at Amazon: a person must act
    NOT_NEEDED = "not_needed"  # Amazon knows the parcel by itself (label bought there)
    BY_HAND = "by_hand"  # someone confirmed the order elsewhere; Amazon shows it shipped
    VOIDED = "voided"  # it will not travel
    REPLACED = "replaced"  # another package has taken over its reference id


TO_SEND = (PackageState.PENDING,)
TO_READ_BACK = (PackageState.SENDING, PackageState.SENT)
NEEDS_A_PERSON = (PackageState.HELD, PackageState.REFUSED, PackageState.DROPPED, PackageState.BLOCKED)
# Amazon has to hear of these before their ship-by time.
UNCONFIRMED = (*TO_SEND, *TO_READ_BACK, *NEEDS_A_PERSON)
# Nothing is told of these any more, unless the warehouse reports them as shipped again.
SUPERSEDED = (PackageState.VOIDED, PackageState.REPLACED)
