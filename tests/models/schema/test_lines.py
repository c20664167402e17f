"""Lines of fields against a writer that notes where it puts each."""

import json
import random
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.schema.lines import Lines, json_lines, line_of, toml_lines

KEYS = st.text(st.sampled_from("ab-_. é\"'\\=#[]{},:"), min_size=1, max_size=5)
SCALARS = st.one_of(
    st.integers(-9, 9), st.booleans(), st.floats(0, 1), st.text("ab\"'\\=#[]{},:. \n", max_size=6)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, min_size=1, max_size=4)
BLANKS = ["", "", "\n", '# a = 1 ] } "\n', "   # '''\n"]


class Writer:
    """Writes a document and notes the line of each field."""

    def __init__(self, seed: int):
        self.choose, self.text = random.Random(seed).choice, ""
        self.lines: Lines = {}

    def put(self, text: str) -> None:
        self.text += text

    def note(self, path) -> None:
        self.lines[path] = self.text.count("\n") + 1

    def json(self, value, path=()) -> None:
        gap = self.choose(["", " ", "\n", "\n\n "])
        if isinstance(value, dict):
            self.put("{" + gap)
            for place, (key, item) in enumerate(value.items()):
                self.put(("," + gap) if place else "")
                self.note((*path, key))
                self.put(json.dumps(key, ensure_ascii=False) + gap + ":" + gap)
                self.json(item, (*path, key))
            self.put(gap + "}")
        elif isinstance(value, list):
            self.put("[" + gap)
            for place, item in enumerate(value):
                self.put(("," + gap) if place else "")
                self.note((*path, place))
                self.json(item, (*path, place))
            self.put(gap + "]")
        else:
            self.put(json.dumps(value, ensure_ascii=False))

    def toml(self, value, path=()) -> None:
        """Scalars and lists first, then tables, as TOML wants it."""
        plain = {k: v for k, v in value.items() if not is_table(v) and not is_tables(v)}
        for key, item in plain.items():
            self.blanks()
            self.note((*path, key))
            self.put(f"{toml_key(key)} = ")
            self.toml_value(item, (*path, key))
            self.put(self.choose(["\n", " # x = [\n"]))
        for key, item in value.items():
            if is_table(item):
                self.header((*path, key), "[", "]")
                self.toml(item, (*path, key))
            elif is_tables(item):
                for place, table in enumerate(item):
                    self.header((*path, key), "[[", "]]", place)
                    self.toml(table, (*path, key, place))

    def header(self, path, left, right, place=None) -> None:
        self.blanks()
        if path not in self.lines:
            self.note(path)
        if place is not None:
            self.note((*path, place))
        names = [toml_key(part) for part in path if isinstance(part, str)]
        self.put(f"{left} {' . '.join(names)} {right}\n")

    def blanks(self) -> None:
        self.put(self.choose(BLANKS))

    def toml_value(self, value, path) -> None:
        if isinstance(value, dict):  # inline: on one line
            self.put("{ ")
            for place, (key, item) in enumerate(value.items()):
                self.put(", " if place else "")
                self.note((*path, key))
                self.put(f"{toml_key(key)} = ")
                self.toml_value(item, (*path, key))
            self.put(" }")
        elif isinstance(value, list):
            gap = self.choose(["", "\n", "\n # ] ,\n"])
            self.put("[" + gap)
            for place, item in enumerate(value):
                self.note((*path, place))
                self.toml_value(item, (*path, place))
                self.put("," + gap)
            self.put("]")
        elif isinstance(value, str):
            self.put(toml_text(value, self.choose([True, False])))
        else:
            self.put(json.dumps(value))


def is_table(value) -> bool:
    return isinstance(value, dict)


def is_tables(value) -> bool:
    return isinstance(value, list) and bool(value) and all(map(is_table, value))


def toml_key(key: str) -> str:
    return json.dumps(key, ensure_ascii=False)


def toml_text(value: str, many_lines: bool) -> str:
    if many_lines and "'''" not in value and not value.startswith("\n"):
        return f"'''{value}'''" if not value.endswith("'") else json.dumps(value)
    if many_lines:
        return '"""\n' + json.dumps(value)[1:-1].replace("\\n", "\n") + '"""'
    return json.dumps(value, ensure_ascii=False)


@pytest.mark.slow
@given(DOCUMENTS, st.integers(0, 2**32))
def test_json_lines_are_where_the_fields_were_written(document, seed):
    writer = Writer(seed)
    writer.json(document)
    assert json.loads(writer.text) == document
    assert json_lines(writer.text) == writer.lines


@pytest.mark.slow
@given(DOCUMENTS, st.integers(0, 2**32))
def test_toml_lines_are_where_the_fields_were_written(document, seed):
    writer = Writer(seed)
    writer.toml(document)
    assert tomllib.loads(writer.text) == document, "the writer is wrong"
    assert toml_lines(writer.text) == writer.lines


def test_dotted_keys_dates_and_other_forms():
    text = (
        'a . "b.c".d = 1979-05-27T07:32:00Z\n'
        "t = 07:32:00\n"
        "[[x]]\n"
        "y.z = 1\n"
        "[x.sub]\n"
        "k = 2\r\n"
        "[[x]]\n"
        "[[x.deep]]\n"
        "v = [1,\n 2]\n"
    )
    tomllib.loads(text)
    lines = toml_lines(text)
    assert lines["a",] == lines["a", "b.c"] == lines["a", "b.c", "d"] == 1
    assert lines["t",] == 2
    assert (lines["x",], lines["x", 0], lines["x", 0, "y", "z"]) == (3, 3, 4)
    assert (lines["x", 0, "sub"], lines["x", 0, "sub", "k"]) == (5, 6)
    assert (lines["x", 1], lines["x", 1, "deep", 0, "v", 1]) == (7, 10)


def test_a_field_that_is_not_there_is_at_the_one_around_it():
    lines = toml_lines("[a]\n\n[b]\nc = 1\n")
    assert line_of(lines, ("b", "missing", 3)) == 3
    assert line_of(lines, ("missing",)) is None


@pytest.mark.slow
@pytest.mark.parametrize("text", ["[" * 5000 + "]" * 5000, '{"a": ' * 5000 + "1" + "}" * 5000])
def test_what_nests_too_deep_has_no_lines(text):
    assert json_lines(text) == {}
