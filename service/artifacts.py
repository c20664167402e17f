"""Finished models by the sha256 of their bytes, in a folder or a bucket."""

from __future__ import annotations

import hashlib
import uuid

import fsspec

from models.errors import InputError, SubnetSearchError


class ArtifactLost(SubnetSearchError):
    """A stored artifact is gone or is not what its name says."""


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

    def put(self, content: bytes) -> str:
        """Store `content` whole or not at all; returns its sha256."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = self._path(sha256)
        if self._files.exists(path):
            return sha256
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        if self._local:
            # Renaming is atomic in a folder; in a bucket a single upload is.
            partial = f"{path}.{uuid.uuid4().hex}.partial"
            self._files.pipe_file(partial, content)
            self._files.mv(partial, path)
        else:
            self._files.pipe_file(path, content)
        return sha256

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
