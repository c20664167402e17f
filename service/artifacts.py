"""Finished models by the sha256 of their bytes, in a folder or a bucket."""

from __future__ import annotations

import hashlib
import os
import uuid
from contextlib import suppress
from copy import copy
from pathlib import Path

import fsspec
import structlog

from models.errors import InputError, SubnetSearchError

log = structlog.get_logger(__name__)


class ArtifactLost(SubnetSearchError):
    """A stored artifact is gone or is not what its name says."""


class ArtifactUnwritable(SubnetSearchError):
    """A model cannot be stored where models are: no room, no permission, no connection."""


class ArtifactStore:
    """Bytes named by their hash: putting twice is putting once, and nothing is overwritten."""

    def __init__(self, url: str) -> None:
        """`url` is any that fsspec reads, such as file:// or s3://.

        Raises:
            InputError: if nothing here can read such a URL.
        """
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise InputError(f"artifacts_url: {error}") from error
        self._local = "file" in (self._files.protocol or ())

    def within(self, folder: str) -> ArtifactStore:
        """A store of its own in a folder of this one."""
        inner = copy(self)
        inner._root = f"{self._root}/{folder}"
        return inner

    def clear(self) -> None:
        """Remove everything, as far as that is possible now."""
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
            if not self._files.exists(path):
                self._write(path, content)
        except OSError as error:
            log.error("artifact_unwritable", path=path, error=str(error))
            reason = error.strerror or type(error).__name__
            raise ArtifactUnwritable(
                f"a model of {len(content)} bytes cannot be stored: {reason}; its operator must "
                "make room where SUBNET_ARTIFACTS_URL points, then ask again"
            ) from error
        return sha256

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
                # On disk before it has its name: a row that refers to it will outlive the power.
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError:
            Path(partial).unlink(missing_ok=True)
            raise

    def get(self, sha256: str) -> bytes:
        """The content of that hash.

        Raises:
            ArtifactLost: if it is gone, truncated or altered.
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
