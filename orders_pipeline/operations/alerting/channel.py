"""What every channel does: take one message within a time, or say why not."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from orders_pipeline.operations.alerting.rules import ChannelName
from orders_pipeline.operations.alerting.words import Message

# From the connection to the last byte of the answer.
MESSAGE_SECONDS = 6.0


class ChannelFailed(Exception):
    """It took no message; the text says why and what to do, and names no secret. `wait`: what it asked for."""

    def __init__(self, why: str, wait: timedelta | None = None) -> None:
        super().__init__(why)
        self.wait = wait


class TextRefused(Exception):
    """It takes messages, but not this text; nothing of the text is repeated."""


class Channel(Protocol):
    """A way to reach people."""

    @property
    def name(self) -> ChannelName: ...

    def send(self, message: Message, *, seconds: float) -> None:
        """Hand over one message; raises ChannelFailed or TextRefused, and ends within the seconds."""
        ...
