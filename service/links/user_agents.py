"""What a browser's User-Agent says of its device. Browsers shorten it more and more, so it names a
device and tells its kind; nothing is decided by it."""

from __future__ import annotations

import re
from collections.abc import Container

MAX_PROCESSOR = 200
KINDS = (
    ("iphone", "iphone"),
    ("ipad", "ipad"),
    ("android.*mobile", "android-phone"),
    ("android", "android-tablet"),
    ("cros", "chromebook"),
    ("windows", "windows-pc"),
    ("macintosh|mac os", "mac"),
    ("linux|x11", "linux-pc"),
)
OTHER = "browser"


def processor_of(user_agent: str) -> str:
    """The platform that a browser states, such as "Linux; Android 14; Pixel 8"."""
    match = re.search(r"\(([^)]*)\)", user_agent)
    text = match[1] if match else user_agent.partition(" ")[0]
    printable = "".join(c for c in text if c.isprintable()).strip()[:MAX_PROCESSOR].strip()
    return printable or "not stated"


def name_of(user_agent: str, taken: Container[str]) -> str:
    """A name for the device, with a number where it is taken."""
    kind = next((kind for words, kind in KINDS if re.search(words, user_agent, re.I)), OTHER)
    name, number = kind, 1
    while name in taken or f"{name}-webgpu" in taken:
        number += 1
        name = f"{kind}-{number}"
    return name
