"""The numbers in what pages show as answers, written anew.

    SUBNET_RECORD_DOCS=1 python -m pytest tests/e2e/test_docs.py -k "README.md or api.md"

runs the commands of these pages and replaces the numbers in what they show, so that one network has
the same numbers on every page. Commands that are measured for a moment only are left as they are.
"""

from __future__ import annotations

import os
import re

from tests.e2e.docs_pages import ANYTHING, ROOT, Command, words_of

IS_RECORDING = "SUBNET_RECORD_DOCS" in os.environ
_NUMBER = re.compile(r"-?\d(?:[\d,]*\d)?(?:\.\d+)?(?:e[+-]?\d+)?|\b(?=\d*[a-f])[0-9a-f]{16,}\b")


def record(command: Command, answer: str) -> None:
    """Write the numbers of an answer into the page of its command."""
    path = ROOT / ("README.md" if command.page == "README.md" else f"docs/{command.page}")
    lines = path.read_text().splitlines()
    first, count = command.answer_line - 1, len(command.shown)
    assert lines[first : first + count] == command.shown
    lines[first : first + count] = renumbered(command.shown, answer)
    path.write_text("\n".join([*lines, ""]))


def renumbered(shown: list[str], answer: str) -> list[str]:
    """What is shown, with the numbers of an answer that `docs_pages.matches`.

    A line without `...` becomes the answer's. In others each number is replaced; one that `...`
    cuts off keeps its length.
    """
    answered = answer.strip().splitlines()
    pattern = "" if shown[0] == ANYTHING else r"(?:.*\n)*?"
    for line in shown:
        escaped = re.escape(words_of(line)).replace(re.escape(ANYTHING), ".*?")
        pattern += r"(?:.*\n)*?" if line == ANYTHING else rf"(\d+)\t{escaped}\n"
    body = "".join(f"{number}\t{words_of(line)}\n" for number, line in enumerate(answered))
    found = re.match(pattern, body)
    if found is None:
        return shown
    places = iter(found.groups())
    return [
        line if line == ANYTHING else _renumbered(line, answered[int(next(places))].rstrip())
        for line in shown
    ]


def _renumbered(shown: str, answered: str) -> str:
    if ANYTHING not in shown:
        return answered
    parts = _NUMBER.split(shown)
    texts = [re.sub(r"(?:\\?\s)+", r"\\s+", re.escape(part)) for part in parts]
    between = rf"({_NUMBER.pattern})".join(
        text.replace(re.escape(ANYTHING), ".*?") for text in texts
    )
    found = re.match(between, answered)
    if found is None:
        return shown
    numbers = list(found.groups())
    for index, old in enumerate(_NUMBER.findall(shown)):
        if parts[index + 1].startswith(ANYTHING):
            numbers[index] = numbers[index][: len(old)]
    return "".join(part + number for part, number in zip(parts, [*numbers, ""], strict=True))
