"""The settings of the application that sellers authorize; all accounts share it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from orders_pipeline.http.hosts import has_one_reading
from orders_pipeline.settings_group import BaseUrl, Group, check_url

_APPLICATION_ID = re.compile(r"amzn1\.[A-Za-z0-9.-]{8,120}")


def _application_id(given: str) -> str:
    if not _APPLICATION_ID.fullmatch(given.strip()):
        raise ValueError("is no application id: take it from the developer console (amzn1.sp.solution.…)")
    return given.strip()


def _queue(url: str) -> str:
    # A path alone is a queue behind AWS_ENDPOINT_URL_SQS; "//" would begin another host.
    return url if url.startswith("/") and not url.startswith("//") and has_one_reading(url) else check_url(url)


class ApplicationSettings(Group):
    """What Amazon's consent page and the rotation of the client secret need."""

    # None: nobody can be sent to Amazon's consent page; a refresh token can still be typed.
    application_id: Annotated[str, AfterValidator(_application_id)] | None = Field(
        default=None, validation_alias="AMAZON_APPLICATION_ID"
    )
    # Amazon answers MD1000 where a draft is authorised without version=beta.
    is_draft: bool = Field(default=False, validation_alias="AMAZON_APPLICATION_DRAFT")
    # Instead of the marketplace's own; for a sandbox.
    seller_central: BaseUrl | None = Field(default=None, validation_alias="AMAZON_SELLER_CENTRAL_ENDPOINT")
    # Where Amazon delivers new client secrets. Another queue than the notifications': it carries secrets in clear.
    rotation_queue_url: Annotated[str, AfterValidator(_queue)] | None = Field(
        default=None, validation_alias="AMAZON_ROTATION_QUEUE_URL"
    )
