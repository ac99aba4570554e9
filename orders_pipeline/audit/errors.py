"""What the audit log refuses."""

from __future__ import annotations


class AuditRefused(Exception):
    """An audit entry was not written because it could hold what the log must never hold."""
