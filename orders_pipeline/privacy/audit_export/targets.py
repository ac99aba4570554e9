"""Where copies of the audit log are kept: a folder, or an S3 bucket. Written once, never over.

Keep it where who runs the pipeline's database cannot write: a bucket with Object Lock (compliance mode, two years) in
an account of the auditor's; a folder only protects from the database. The role needs
s3:PutObject, s3:GetObject and s3:ListBucket.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

from orders_pipeline.settings import Settings

FOLDER_NAME = "audit_export"


class ExportUnavailable(Exception):
    """The folder or bucket cannot be used now; the message says why and what to do. Nothing was written."""


class ExportTarget(Protocol):
    """Keeps files by name. `where` names it for people."""

    @property
    def where(self) -> str: ...

    def put(self, name: str, content: IO[bytes]) -> bool:
        """Write the file; False, and nothing written, if there is one of that name. Raises ExportUnavailable."""
        ...

    def get(self, name: str) -> bytes | None:
        """The file's content; None if there is none. Raises ExportUnavailable."""
        ...

    def names(self) -> set[str]:
        """The names of all files that are there. Raises ExportUnavailable."""
        ...


class FolderTarget:
    """A folder, readable by its owner only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def where(self) -> str:
        return str(self._folder)

    def put(self, name: str, content: IO[bytes]) -> bool:
        path = self._folder / name
        part = path.with_name(f".{name}.{secrets.token_hex(8)}.part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    shutil.copyfileobj(content, file)
                    file.flush()
                    os.fsync(file.fileno())
                # A link, not a rename: it fails where there is a file already.
                path.hardlink_to(part)
            except FileExistsError:
                return False
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise self._unavailable("written", error) from error
        return True

    def get(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unavailable("read", error) from error

    def names(self) -> set[str]:
        try:
            return {path.name for path in self._folder.iterdir()}
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise self._unavailable("read", error) from error

    def _unavailable(self, what: str, error: OSError) -> ExportUnavailable:
        return ExportUnavailable(
            f"The audit export in {self._folder} cannot be {what} ({error.strerror}): check ORDERS_AUDIT_EXPORT."
        )


class S3Target:
    """An S3 bucket, below a prefix. `client` is a boto3 S3 client."""

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    @property
    def where(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}"

    def put(self, name: str, content: IO[bytes]) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + name,
                Body=content,
                # S3 itself refuses to write over, whoever else writes at this moment.
                IfNoneMatch="*",
                ChecksumAlgorithm="SHA256",
            )
        except ClientError as error:
            if _code(error) == "PreconditionFailed":
                return False
            raise self._unavailable("written", _code(error)) from error
        except BotoCoreError as error:
            raise self._unavailable("written", type(error).__name__) from error
        return True

    def get(self, name: str) -> bytes | None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"].read()
        except ClientError as error:
            if _code(error) in ("NoSuchKey", "404"):
                return None
            raise self._unavailable("read", _code(error)) from error
        except BotoCoreError as error:
            raise self._unavailable("read", type(error).__name__) from error

    def names(self) -> set[str]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            return {
                str(found["Key"]).removeprefix(self._prefix) for page in pages for found in page.get("Contents", ())
            }
        except ClientError as error:
            raise self._unavailable("listed", _code(error)) from error
        except BotoCoreError as error:
            raise self._unavailable("listed", type(error).__name__) from error

    def _unavailable(self, what: str, code: str) -> ExportUnavailable:
        return ExportUnavailable(
            f"The audit export in {self.where} cannot be {what} ({code}): check ORDERS_AUDIT_EXPORT, the region, and "
            "that this role may s3:PutObject, s3:GetObject and s3:ListBucket there."
        )


def open_export_target(settings: Settings, s3_client: Callable[[], Any]) -> ExportTarget:
    """What ORDERS_AUDIT_EXPORT names; without it, a folder in the data folder. `s3_client` is called for S3 only.

    Raises ExportUnavailable where what it names is neither: a copy in another place would be one that nobody knows of.
    """
    problem = settings.problem_of("ORDERS_AUDIT_EXPORT")
    if problem is not None:
        raise ExportUnavailable(
            f"{problem}. Set it right: until then no copy of the audit log is made, and none is held against the log."
        )
    named = settings.audit_export
    if named is None:
        return FolderTarget(settings.data_dir / FOLDER_NAME)
    if named.startswith("s3://"):
        bucket, _, prefix = named.removeprefix("s3://").partition("/")
        return S3Target(s3_client(), bucket, prefix)
    return FolderTarget(Path(named).expanduser())


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
