"""What the names of a foreign table mean: a JSON object, or two columns, from names to our keys.

A key is as `devices keys` prints it, `KEY@RESOLUTION` for networks of one resolution, or a name
that is understood by itself. One name may stand for several layers.
"""

from __future__ import annotations

from pathlib import Path

from latency_tables.published.csv_table import split
from latency_tables.published.rows import MAX_ROWS, shown, text_of
from models.errors import InputError, show_value
from models.schema import read_json

_HEADER = {"key", "layer", "ours", "to", "layer_key"}


def read_mapping(path: Path) -> dict[str, tuple[str, ...]]:
    """Our keys by a foreign name.

    Raises:
        NotFound: no such file.
        InputError: naming the file and the wrong entry.
    """
    text = text_of(path)
    found = _from_json(path) if text.lstrip().startswith("{") else _from_csv(path, text)
    if not 0 < len(found) <= MAX_ROWS:
        raise InputError(f"{path.name}: expected 1 to {MAX_ROWS} names, got {len(found)}")
    return found


def _from_json(path: Path) -> dict[str, tuple[str, ...]]:
    value = read_json(path).value
    if not isinstance(value, dict):
        raise InputError(f"{path.name}: expected an object from names to layers' keys")
    found = {}
    for name, keys in value.items():
        listed = keys if isinstance(keys, list) else [keys]
        if not listed or not all(isinstance(key, str) for key in listed):
            got = show_value(keys)
            raise InputError(f"{path.name}: {shown(name)}: expected a layer's key, got {got}")
        found[name] = tuple(dict.fromkeys(listed))
    return found


def _from_csv(path: Path, text: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for number, (line, cells) in enumerate(split(path.name, text)):
        pair = [cell for cell in cells if cell]
        if len(pair) != 2:
            raise InputError(
                f"{path.name}: line {line}: expected a name and a layer's key, "
                f"got {len(pair)} cells"
            )
        if number or pair[1].lower() not in _HEADER:
            found.setdefault(pair[0], {})[pair[1]] = None
    return {name: tuple(keys) for name, keys in found.items()}
