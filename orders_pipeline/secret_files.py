"""Whether a file that holds a secret can be read by others, as ssh asks of a private key.

A container's secrets are another matter: Docker and Kubernetes mount them read-only, or owned by root, and often
readable by all, where all is one container. Their mode is not always the deployment's to choose, so they are warned of.
"""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Exposure:
    """A file that others can read or change. `refused`: a secret in it must not be used."""

    sentence: str
    refused: bool


def exposure(name: str, path: Path) -> Exposure | None:
    """How the file that the setting `name` names is open to others; None if it is not. Raises OSError.

    A folder above it that only its owner may enter keeps it closed, whatever its own mode is.
    """
    file = path.resolve(strict=True)
    status = file.stat()
    mode = stat.S_IMODE(status.st_mode)
    mend = f"run `chmod 600 {shlex.quote(str(file))}`"
    if status.st_uid not in (0, os.geteuid()):
        return Exposure(f"{name}: {file} belongs to another user, who can change it: make it your own", refused=True)
    if not mode & 0o077 or any(_keeps_others_out(folder) for folder in file.parents):
        return None
    if mode & 0o022:
        return Exposure(f"{name}: {file} can be changed by others than its owner: {mend}", refused=True)
    if not mode & 0o044:
        return None
    if (status.st_uid == 0 and os.geteuid() != 0) or os.statvfs(file).f_flag & os.ST_RDONLY:
        return Exposure(f"{name}: {file} can be read by every user of this machine or container", refused=False)
    return Exposure(f"{name}: {file} can be read by others than its owner: {mend}", refused=True)


def _keeps_others_out(folder: Path) -> bool:
    status = folder.stat()
    return status.st_uid in (0, os.geteuid()) and not stat.S_IMODE(status.st_mode) & 0o011
