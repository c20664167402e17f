"""Finished models by the sha256 of their bytes, in a folder or a bucket."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import structlog

from models.errors import InputError, SubnetSearchError

log = structlog.get_logger(__name__)
_OWN = re.compile(r"([0-9a-f]{2})/\1[0-9a-f]{62}(\.[0-9a-f]{32}\.partial)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Counts of files that a collection kept and removed."""

    kept: int
    removed: int
    freed_bytes: int


class ArtifactLost(SubnetSearchError):
    """A stored artifact is missing, or its content does not match its name."""


class ArtifactUnwritable(SubnetSearchError):
    """A model cannot be stored: no space, no permission, no connection."""


class ArtifactStore:
    """Files named by the sha256 of their content. Storing the same bytes twice keeps one file."""

    def __init__(self, url: str) -> None:
        """`url` is any that fsspec reads, such as file:// or s3://.

        Raises:
            InputError: if no installed filesystem reads such a URL.
        """
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise InputError(f"artifacts_url: {error}") from error
        self._local = "file" in (self._files.protocol or ())

    def within(self, folder: str) -> ArtifactStore:
        """A separate store in a folder of this one."""
        inner = copy(self)
        inner._root = f"{self._root}/{folder}"
        return inner

    def clear(self) -> None:
        """Remove everything that can be removed; errors are ignored."""
        with suppress(OSError):
            if self._files.exists(self._root):
                self._files.rm(self._root, recursive=True)

    def put(self, content: bytes) -> str:
        """Store `content` whole or not at all; returns its sha256.

        Raises:
            ArtifactUnwritable: if it cannot be stored; nothing is left behind.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        path = self._path(sha256)
        try:
            if not self._renewed(path):
                self._write(path, content)
        except OSError as error:
            log.error("artifact_unwritable", path=path, error=str(error))
            reason = error.strerror or type(error).__name__
            raise ArtifactUnwritable(
                f"a model of {len(content)} bytes cannot be stored: {reason}; its operator must "
                "make room where SUBNET_ARTIFACTS_URL points, then ask again"
            ) from error
        return sha256

    def _renewed(self, path: str) -> bool:
        """Set a stored file's time to now, so that `collect` keeps it. False if the file does not
        exist or the store cannot set times: then it must be written."""
        if not self._local:
            return False  # writing the file again sets its time
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def collect(
        self, referred: Callable[[], Collection[str]], grace: timedelta, *, dry_run: bool = False
    ) -> Collected:
        """Remove files older than `grace` that nothing refers to, and parts of failed writes.

        Safe beside writers that refer to a file within `grace` of storing it: files are listed
        first, then `referred` is asked, and each file's age is looked at again before it goes.

        Args:
            referred: returns every sha256 that is still in use.
            dry_run: count, but remove nothing.
        """
        try:
            listed = self._files.find(self._root, detail=True)
        except FileNotFoundError:
            listed = {}
        found = {path: int(info["size"]) for path, info in listed.items() if self._is_own(path)}
        wanted = set(referred())
        oldest = datetime.now(UTC) - grace
        kept = removed = freed = 0
        for path, size in found.items():
            try:
                if path.rpartition("/")[2] in wanted or self._modified(path) > oldest:
                    kept += 1
                    continue
                if not dry_run:
                    self._files.rm_file(path)
            except FileNotFoundError:  # another process collects too
                continue
            removed, freed = removed + 1, freed + size
        return Collected(kept=kept, removed=removed, freed_bytes=freed)

    def _is_own(self, path: str) -> bool:
        """Whether this store wrote the file, whole or partial. Workers' drafts and other files are
        left alone."""
        return _OWN.fullmatch(path.removeprefix(self._root).lstrip("/")) is not None

    def _modified(self, path: str) -> datetime:
        modified: datetime = self._files.modified(path)
        return modified if modified.tzinfo else modified.replace(tzinfo=UTC)

    def _write(self, path: str, content: bytes) -> None:
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        if not self._local:
            self._files.pipe_file(path, content)  # in a bucket a single upload is atomic
            return
        partial = f"{path}.{uuid.uuid4().hex}.partial"
        try:
            with open(partial, "wb") as file:
                file.write(content)
                file.flush()
                # On disk before it has its name: a row that refers to it survives a power failure.
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError:
            Path(partial).unlink(missing_ok=True)
            raise

    def get(self, sha256: str) -> bytes:
        """The content with this hash.

        Raises:
            ArtifactLost: if it is missing, truncated or altered.
        """
        try:
            content: bytes = self._files.cat_file(self._path(sha256))
        except FileNotFoundError as error:
            raise ArtifactLost(
                f"artifact {sha256[:12]} is gone: restore {self._path(sha256)}"
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise ArtifactLost(
                f"artifact {sha256[:12]} is damaged: found {len(content)} bytes with sha256 "
                f"{found[:12]}; restore {self._path(sha256)}"
            )
        return content

    def _path(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256}"
