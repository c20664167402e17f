"""Architectures as Once-for-All writes them: flat lists with an entry for each block there can be.

    MobileNet spaces   {"ks": [3, 5, ...], "e": [3, 6, ...], "d": [2, 3, ...], "r": 224}
    ResNet spaces      {"d": [2, 0, ...], "e": [0.2, ...], "w": [0, 2, ...], "image_size": 224}

`ks` and `e` list the blocks of the deepest network, stage after stage. The first blocks of a stage
are active, as many as `d` says (ResNet: beyond the least); entries of the others mean nothing. `w`
holds positions in the list of multipliers. A ResNet's `d[0]` is the largest depth if the stem has
its residual convolution, and another if not. One value in place of a list stands for all entries.

Source: mit-han-lab/once-for-all, f03b267 and v0.1, `set_active_subnet` and `sample_active_subnet`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from models.errors import FieldPath, InvalidDocument, show_path, show_value
from models.spaces.arch import OWN_FIELDS, Arch, Note
from models.spaces.genes import GeneName

if TYPE_CHECKING:
    from models.spaces.space import SearchSpace

NAMES: Mapping[str, GeneName] = {"ks": "kernel", "d": "depth", "e": "expand", "w": "width"}
"""The kind of gene that each list has entries of."""
SIZES = ("r", "image_size", "resolution")
"""Names of the resolution; upstream's own code uses all three."""
UNUSED = "wid"
"""Null: the first release kept a place for widths here."""

INACTIVE = "entries of blocks beyond the depth of their stage are ignored, as Once-for-All does"
FIXED = "is read as {}, the only depth of its stage, as Once-for-All does"
NO_STEM = "is read as {}, without the stem's residual convolution, as Once-for-All does"

Entry = tuple[object, FieldPath]
"""A value and its place in the document."""


def is_ofa(value: object) -> bool:
    """Whether a JSON value is meant to be of this form."""
    if not isinstance(value, Mapping):
        return False
    return bool({*NAMES, UNUSED} & set(value)) and not OWN_FIELDS & set(value)


def read_ofa(value: Mapping[str, Any], space: SearchSpace, note: Note) -> Arch:
    """The architecture of `space` that a value of this form is.

    Args:
        note: told what is ignored.

    Raises:
        InvalidDocument: naming the entry that is not as this space has it.
    """
    return _Reading(space, _columns(space), value, note).arch()


def to_ofa(space: SearchSpace, arch: Arch) -> dict[str, Any]:
    """The inverse of `read_ofa`, which upstream's `set_active_subnet` takes; entries of blocks that
    are not active hold the first choice.

    Raises:
        InputError: if `arch` is not in `space`.
    """
    (row,) = space.encode([arch]).tolist()
    switch = _switch(space)
    lists: dict[str, list[float]] = {}
    for name, columns in _columns(space).items():
        values = [space.genes[c].choices[row[c]] for c in columns]
        if name == "w":
            values = [row[c] for c in columns]
        elif name == "d":
            values = [
                value if c in space.depth_columns else switch[row[c]]
                for c, value in zip(columns, values, strict=True)
            ]
        lists[name] = values
    return {**lists, _size_name(lists): arch.resolution}


@lru_cache(maxsize=64)
def _columns(space: SearchSpace) -> dict[str, list[int]]:
    """Columns of the gene matrix by list, in upstream's order of lists and of entries."""
    by_place = sorted(
        range(len(space.genes)), key=lambda c: (space.genes[c].stage, space.genes[c].block)
    )
    kinds = {gene.name for gene in space.genes}
    order = ("d", "e", "w") if "width" in kinds else ("ks", "e", "d")
    return {
        name: [c for c in by_place if space.genes[c].name == NAMES[name]]
        for name in order
        if NAMES[name] in kinds
    }


def _size_name(lists: Mapping[str, object]) -> str:
    """What upstream calls the resolution beside these lists."""
    return "image_size" if "w" in lists else "r"


def _stage_depths(space: SearchSpace) -> tuple[int, ...]:
    """Every depth that some stage can have, ascending."""
    genes = [space.genes[column] for column in space.depth_columns]
    return tuple(sorted({int(choice) for gene in genes for choice in gene.choices}))


def _switch(space: SearchSpace) -> tuple[int, int]:
    """What `d` holds for a layer outside the stages that is left out, and for one that is there."""
    depths = _stage_depths(space)
    return depths[0] if len(depths) > 1 else depths[0] + 1, depths[-1]


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """One value of this form, and the space that it is of."""

    space: SearchSpace
    columns: Mapping[str, list[int]]
    value: Mapping[str, Any]
    note: Note

    def arch(self) -> Arch:
        """The architecture; every entry that counts was checked."""
        self._check_fields()
        depth = self._depths()
        genes = [self.space.genes[column] for column in self.space.depth_columns]
        stages = zip(genes, self.space.block_counts, strict=True)
        active = [counts[gene.choices.index(depth[gene.stage])] for gene, counts in stages]
        kernel, expand = (
            self._blocks(name, active) if name in self.columns else () for name in ("ks", "e")
        )
        width = self._widths() if "w" in self.columns else ()
        return Arch(self._resolution(), depth, kernel, expand, width)  # type: ignore[arg-type]

    def _check_fields(self) -> None:
        names = list(self.columns)
        size = _size_name(self.columns)
        form = f"({', '.join(names)}, {size}) as Once-for-All has it for {self.space.family} spaces"
        if unknown := set(map(str, self.value)) - {*names, *SIZES, UNUSED}:
            text = f"unknown field {show_value(min(unknown))}; expected {form}"
            raise _invalid((), text)
        if missing := [name for name in names if self.value.get(name) is None]:
            raise _invalid((), f"field {missing[0]!r} is missing; expected {form}")
        if all(self.value.get(name) is None for name in SIZES):
            example = f'"{size}": {self.space.resolutions[-1]}'
            text = f"field {size!r} is missing: add the input's size in pixels, such as {example}"
            raise _invalid((), text)
        unused = self.value.get(UNUSED)
        if any(v is not None for v in (unused if isinstance(unused, list) else [unused])):
            text = f"expected null: this space has no choice of it, got {show_value(unused)}"
            raise _invalid((UNUSED,), text)

    def _resolution(self) -> int:
        found: dict[str, float] = {}
        for name in SIZES:
            if (value := self.value.get(name)) is not None:
                entry = _unwrap((value, (name,)))
                found[name] = _choice(entry, self.space.resolutions)
        (first, size), *others = found.items()
        for name, other in others:
            if other != size:
                raise _invalid((name,), f"expected {size} as in {first!r}, got {other}")
        return int(size)

    def _depths(self) -> tuple[int, ...]:
        """As an `Arch` has them."""
        values = self.value["d"]
        columns = self.columns["d"]
        if isinstance(values, list):
            for column in columns[len(values) :]:  # upstream's loops end with the shorter list
                if len(choices := self.space.genes[column].choices) == 1:
                    values = [*values, choices[0]]
                    self.note("d has no entry for a last stage, which has one depth alone")
        entries = [_unwrap(entry) for entry in _entries(values, "d", len(columns), "depths")]
        return tuple(map(self._depth, columns, entries))

    def _depth(self, column: int, entry: Entry) -> int:
        choices = self.space.genes[column].choices
        if column in self.space.depth_columns and len(choices) > 1:
            return int(_choice(entry, choices))
        possible, where = _stage_depths(self.space), show_path("", entry[1])[1:]
        if column not in self.space.depth_columns:
            left_out, there = _switch(self.space)
            value = _choice(entry, tuple(sorted({left_out, *possible})))
            if value not in (left_out, there):
                self.note(f"{where} {NO_STEM.format(left_out)}")
            return int(choices[value == there])
        # Upstream's samples hold any depth of other stages here, and it takes no more blocks than
        # there are.
        value = _choice(entry, tuple(d for d in possible if d >= choices[0]))
        if value != choices[0]:
            self.note(f"{where} {FIXED.format(choices[0])}")
        return int(choices[0])

    def _widths(self) -> tuple[float, ...]:
        columns = self.columns["w"]
        entries = _entries(self.value["w"], "w", len(columns), "widths")
        chosen = []
        for column, entry in zip(columns, entries, strict=True):
            choices = self.space.genes[column].choices
            position = _choice(entry, tuple(range(len(choices))), f", positions in {list(choices)}")
            chosen.append(choices[int(position)])
        return tuple(chosen)

    def _blocks(self, name: str, active: Sequence[int]) -> tuple[tuple[float, ...], ...]:
        """The choices of the active blocks, a tuple a stage."""
        most = [counts[-1] for counts in self.space.block_counts]
        values = self.value[name]
        if isinstance(values, list) and values and isinstance(values[0], list):
            stages = self._nested(name, values, active)
        else:
            entries = _entries(values, name, sum(most), f"{' + '.join(map(str, most))} blocks")
            starts = [sum(most[:s]) for s in range(len(most))]
            stages = [
                entries[start : start + count] for start, count in zip(starts, most, strict=True)
            ]
        read = []
        for s, (stage, count) in enumerate(zip(stages, active, strict=True)):
            columns = [self.space.column[NAMES[name], s, b] for b in range(count)]
            choices = [self.space.genes[column].choices for column in columns]
            read.append(tuple(map(_choice, stage[:count], choices)))
            if isinstance(values, list) and stage[count:]:
                self.note(INACTIVE)
            for value, path in stage[count:]:
                if isinstance(value, bool) or not isinstance(value, int | float | None):
                    raise _invalid(path, f"expected a number, got {show_value(value)}")
        return tuple(read)

    def _nested(
        self, name: str, values: Sequence[object], active: Sequence[int]
    ) -> list[list[Entry]]:
        """Entries of a list with a list a stage, of its active blocks or of all."""
        entries = _entries(list(values), name, len(active), "stages")
        stages = []
        for (value, path), counts, count in zip(
            entries, self.space.block_counts, active, strict=True
        ):
            if not isinstance(value, list) or len(value) not in (count, counts[-1]):
                text = f"expected a list of {count} or {counts[-1]} entries"
                raise _invalid(path, f"{text}, got {show_value(value)}")
            stages.append([(v, (*path, b)) for b, v in enumerate(value)])
        return stages


def _entries(values: object, name: str, count: int, unit: str) -> list[Entry]:
    """The entries of a list, or one value so many times."""
    if not isinstance(values, list):
        return [(values, (name,))] * count
    if len(values) != count:
        text = f"expected {count} entries, one for each of the {unit}, got {len(values)}"
        raise _invalid((name,), text)
    return [(value, (name, i)) for i, value in enumerate(values)]


def _unwrap(entry: Entry) -> Entry:
    """What is in a list of one."""
    value, path = entry
    return (value[0], (*path, 0)) if isinstance(value, list) and len(value) == 1 else entry


def _choice(entry: Entry, choices: tuple[float, ...], what: str = "") -> float:
    """The choice that equals a value; 3.0 is not the integer 3, and `true` not 1."""
    value, path = entry
    if type(value) in (int, float) and value in choices:
        choice = choices[choices.index(value)]
        if isinstance(choice, type(value) | float):
            return choice
    among = f"{list(choices)}{what}"
    raise _invalid(path, f"expected one of {among}, got {show_value(value)}")


def _invalid(path: FieldPath, text: str) -> InvalidDocument:
    return InvalidDocument.at("arch", path, text)
