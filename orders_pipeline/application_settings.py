"""The settings of the application that sellers authorize; all accounts share it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from orders_pipeline.settings_group import BaseUrl, Group

_APPLICATION_ID = re.compile(r"amzn1\.[A-Za-z0-9.-]{8,120}")


def _application_id(given: str) -> str:
    if not _APPLICATION_ID.fullmatch(given.strip()):
        raise ValueError("is no application id: take it from the developer console (amzn1.sp.solution.…)")
    return given.strip()


class ApplicationSettings(Group):
    """What Amazon's consent page needs."""

    # None: nobody can be sent to Amazon's consent page; a refresh token can still be typed.
    application_id: Annotated[str, AfterValidator(_application_id)] | None = Field(
        default=None, validation_alias="AMAZON_APPLICATION_ID"
    )
    # Amazon answers MD1000 where a draft is authorised without version=beta.
    is_draft: bool = Field(default=False, validation_alias="AMAZON_APPLICATION_DRAFT")
    # Instead of the marketplace's own; for a sandbox.
    seller_central: BaseUrl | None = Field(default=None, validation_alias="AMAZON_SELLER_CENTRAL_ENDPOINT")
