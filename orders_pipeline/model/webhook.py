"""Why a call to the webhooks' path is not taken for the warehouse's."""

from __future__ import annotations

from orders_pipeline.model.state_machine import DescribedWord


class WebhookRefusal(DescribedWord):
    """The word that is stored, and what it means for whoever looks why packages come by polling alone."""

    NO_SECRET = "no_secret", "WMS_WEBHOOK_SECRET is not set, or the adapter takes no webhooks"
    UNSIGNED = "unsigned", "there is no X-Signature of the form t=<unix time>,v1=<hex>"
    SIGNATURE = "signature", "the signature is of none of the secrets in WMS_WEBHOOK_SECRET"
    TIME = "time", "it was signed more than five minutes away from the clock of the database"
    FORM = "form", "the body is no JSON of shipment events"
