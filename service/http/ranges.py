"""Downloads of immutable bytes: conditional requests and ranges (RFC 9110)."""

from __future__ import annotations

import hashlib
import re

from fastapi import Response

MEDIA_TYPE = "application/octet-stream"


def download(
    content: bytes,
    sha256: str,
    filename: str,
    *,
    if_none_match: str | None = None,
    range_: str | None = None,
    if_range: str | None = None,
) -> Response:
    """The answer with `content`: whole (200), a part (206), or not modified (304).

    Args:
        sha256: of `content`; its strong ETag.
        if_none_match, range_, if_range: the headers of those names.
    """
    etag = f'"{sha256}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-cache",  # asked again each time whether the caller may still see it
        "Content-Disposition": f'attachment; filename="{filename}"',
    }
    if not_modified(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    if range_ is None or (if_range is not None and if_range.strip() != etag):
        return Response(content, headers=headers, media_type=MEDIA_TYPE)
    part = parse_range(range_, len(content))
    if part is None:
        return Response(content, headers=headers, media_type=MEDIA_TYPE)
    if not part:
        unsatisfied = {"Content-Range": f"bytes */{len(content)}"}
        return Response(status_code=416, headers={**headers, **unsatisfied})
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(content)}"
    return Response(content[part.start : part.stop], 206, headers, MEDIA_TYPE)


def parse_range(header: str, size: int) -> range | None:
    """The byte positions that a Range header selects of `size` bytes; empty if it selects none.

    None if the header is invalid or names several parts: servers may ignore such a header.
    """
    match = re.fullmatch(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", header, re.ASCII)
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        return range(max(size - int(last), 0), size)
    if last and int(last) < int(first):
        return None
    return range(min(int(first), size), min(int(last) + 1, size) if last else size)


def entity_tag(content: bytes) -> str:
    """The strong ETag of some bytes."""
    return f'"{hashlib.sha256(content).hexdigest()}"'


def not_modified(if_none_match: str | None, etag: str) -> bool:
    """Whether an If-None-Match header names `etag`, weakly compared, or anything."""
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return "*" in tags or etag in tags
