"""The Sellers API: in which marketplaces this authorisation takes part."""

from __future__ import annotations

from dataclasses import dataclass

from orders_pipeline.channels.amazon.fields import FieldProblem, Fields
from orders_pipeline.channels.amazon.http.answers import protocol_error
from orders_pipeline.channels.amazon.http.transport import AccessTokens, Request, Transport
from orders_pipeline.channels.amazon.quota.operations import GET_MARKETPLACE_PARTICIPATIONS
from orders_pipeline.model.order import Priority


@dataclass(frozen=True, slots=True)
class MarketplaceParticipation:
    """One marketplace. A seller who does not participate, or has suspended listings, gets no orders there."""

    marketplace_id: str
    name: str | None
    participates: bool
    has_suspended_listings: bool


class SellersV1:
    """Asks about the seller's own account."""

    def __init__(self, transport: Transport, tokens: AccessTokens) -> None:
        self._transport = transport
        self._tokens = tokens

    def marketplace_participations(self, *, deadline_seconds: float = 20.0) -> list[MarketplaceParticipation]:
        """Every marketplace of the seller's in this region. Raises AmazonError."""
        request = Request(GET_MARKETPLACE_PARTICIPATIONS, GET_MARKETPLACE_PARTICIPATIONS.path)
        deadline = self._transport.deadline(deadline_seconds)
        answer = self._transport.call(request, self._tokens, priority=Priority.EVENT, deadline=deadline)
        try:
            return [_participation(one) for one in Fields(answer.body, "answer").required_parts("payload")]
        except FieldProblem as problem:
            raise protocol_error(
                GET_MARKETPLACE_PARTICIPATIONS, self._transport.seller_id, answer.request_id, str(problem)
            ) from None


def _participation(body: Fields) -> MarketplaceParticipation:
    marketplace, participation = body.part("marketplace"), body.part("participation")
    return MarketplaceParticipation(
        marketplace_id=marketplace.required_text("id"),
        name=marketplace.text("name"),
        participates=participation.flag("isParticipating"),
        has_suspended_listings=participation.flag("hasSuspendedListings"),
    )
