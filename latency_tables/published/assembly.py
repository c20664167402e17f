"""From the rows of a foreign table to a latency table, and what became of each row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from latency_tables.published.layer_names import NotSquare, describe
from latency_tables.published.matching import (
    READINGS,
    LayerIndex,
    Match,
    Reading,
    Unmatched,
    is_mean,
)
from latency_tables.published.rows import Row, Sheet, shown
from latency_tables.table import (
    Conditions,
    LatencyTable,
    LayerLatency,
    Note,
    at_resolution,
)
from models.errors import InputError
from models.spaces import SearchSpace

NEGLIGIBLE_MS = 1e-6
"""Time of a mean over height and width that a format leaves out, or includes in the next layer."""
SHOWN = 3
"""Rows or layers that a sentence names."""

Mapped = Mapping[str, tuple[str, ...]]
"""Our keys, or names that are understood, by the name in a file."""


@dataclass(frozen=True, slots=True)
class UnmappedRow:
    """A row that the table does not have."""

    file: str
    line: int
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class ImportedTable:
    """A table from foreign files, and what is not in it."""

    table: LatencyTable
    unmapped: tuple[UnmappedRow, ...] = ()
    warnings: tuple[str, ...] = ()


class IncompleteTable(InputError):
    """Layers of the space are in no row.

    Attributes:
        missing: keys of these layers, with the resolution where the table has one a resolution.
        unmapped: rows that are of no layer of the space.
    """

    def __init__(self, space: str, missing: Sequence[str], unmapped: Sequence[UnmappedRow]) -> None:
        self.missing, self.unmapped = tuple(missing), tuple(unmapped)
        text = (
            f"{len(missing)} layers of space {space!r} are missing, first "
            f"{'; '.join(missing[:SHOWN])}: add them, or take other resolutions (--resolution)"
        )
        if not missing:
            text = f"no row is of a layer of space {space!r}: is it of another supernet?"
        rows = f"; {_rows(len(unmapped))} of no layer of it" if unmapped else ""
        super().__init__(f"{text}{rows}. `subnet-search devices keys {space}` prints every layer")


def assemble(
    sheets: Sequence[Sheet],
    space: SearchSpace,
    *,
    device: str,
    source: str,
    mapped: Mapped | None = None,
) -> ImportedTable:
    """The table of a space whose layers are in the rows of some files.

    Args:
        source: who measured it, in a sentence.
        mapped: what names mean that cannot be understood.

    Raises:
        IncompleteTable: layers are missing.
        InputError: two rows have different times of one layer, or none is of a layer.
    """
    work = _Assembly(LayerIndex(space), mapped or {})
    kept = list(work.of_the_space(sheets))
    reading = work.choose_reading(kept)
    for sheet, resolution in kept:
        work.take(sheet, resolution, reading)
    entries, notes = work.complete()
    table = LatencyTable(
        device=device,
        space=space.name,
        origin="measured",
        source=source,
        conditions=Conditions(runtime="not stated", precision="fp32", batch=1),
        entries=entries,
        notes=notes,
    )
    return ImportedTable(table, tuple(work.unmapped), tuple(work.all_warnings(table)))


@dataclass(frozen=True, slots=True)
class _Taken:
    time: LayerLatency
    where: str
    odd: int


class _Assembly:
    """What is collected from row to row."""

    def __init__(self, index: LayerIndex, mapped: Mapped) -> None:
        self.index, self.mapped = index, mapped
        self.unmapped: list[UnmappedRow] = []
        self.warnings: list[str] = []
        self._entries: dict[str, _Taken] = {}
        self._repeated: list[str] = []
        self._pooled = False
        self._stated: set[int] = set()
        self._used: set[str] = set()

    def of_the_space(self, sheets: Sequence[Sheet]) -> Iterator[tuple[Sheet, int | None]]:
        """The rows of resolutions that the space has, and the resolution of each file.

        Raises:
            InputError: there are none.
        """
        known = {None, *self.index.space.resolutions}
        skipped: Counter[int] = Counter()
        left = 0
        for sheet in sheets:
            own = self._resolution_of(sheet, len(sheets) > 1)
            stated = [row.resolution or own for row in sheet.rows]
            rows = [row for row, at in zip(sheet.rows, stated, strict=True) if at in known]
            skipped.update(at for at in stated if at is not None and at not in known)
            left += len(rows)
            yield Sheet(sheet.name, tuple(rows)), own
        if not skipped:
            return
        text = (
            f"{_rows(skipped.total())} of resolutions that space {self.index.space.name!r} lacks, "
            f"{len(skipped)} of them: {_some(sorted(skipped))}"
        )
        if not left:
            raise InputError(f"found only {text}; it has {_some(self.index.space.resolutions)}")
        self.warnings.append(f"skipped {text}")

    def _resolution_of(self, sheet: Sheet, one_of_several: bool) -> int | None:
        """The resolution of a file's networks; None if it has layers of several, or of any."""
        names = [name for row in sheet.rows for name in self._names(row)]
        if not one_of_several and any(name in self.index.known for name in names):
            return None  # our keys say all
        sizes = {size for name in names if (size := self._image_size(name)) is not None}
        numbers = re.findall(r"(?<![0-9])[0-9]{1,5}(?![0-9])", PurePath(sheet.name).stem)
        named = set(map(int, numbers))
        if not sizes:
            known = named & set(self.index.space.resolutions)
            if not known and len(named) == 1 and one_of_several:
                return named.pop()
            return known.pop() if len(known) == 1 else None
        if len(sizes) > 1:
            return None
        (size,) = sizes
        if named & set(self.index.space.resolutions) and size not in named:
            self.warnings.append(f"{sheet.name}: its first convolution is of resolution {size}")
        return size

    def _image_size(self, name: str) -> int | None:
        """The size of the network's image, if a name is of the layer that takes it."""
        if (known := self.index.known.get(name.strip())) is not None:
            stem = self.index.stems.get(known.layer.resolution)
            return known.layer.in_size if stem is not None and stem.key == name.strip() else None
        try:
            said = describe(name)
        except NotSquare:
            return None
        if said.in_channels != self.index.space.channels or said.group not in (None, "conv"):
            return None
        return said.in_size

    def _names(self, row: Row) -> Iterable[str]:
        return self.mapped.get(row.name, (row.name,))

    def choose_reading(self, sheets: Sequence[tuple[Sheet, int | None]]) -> Reading:
        """Whether `expand` is channels or their ratio: what explains more rows.

        Raises:
            InputError: both explain as many, but differently.
        """
        names = [
            (name, row.resolution or resolution)
            for sheet, resolution in sheets
            for row in sheet.rows
            for name in self._names(row)
            if name not in self.index.known
        ]
        found: dict[Reading, list[Match | None]] = {
            reading: [self._try(name, reading, resolution) for name, resolution in names]
            for reading in READINGS
        }
        count = {reading: sum(m is not None for m in matches) for reading, matches in found.items()}
        if count["channels"] == count["ratio"] and found["channels"] != found["ratio"]:
            raise InputError(
                f"{sheets[0][0].name}: `expand` may be channels or their ratio to the input's: "
                "write `mid` or `expand_ratio` in its place"
            )
        return max(count, key=count.__getitem__)

    def _try(self, name: str, reading: Reading, resolution: int | None) -> Match | None:
        try:
            return self.index.match(name, reading, resolution)
        except Unmatched:
            return None

    def take(self, sheet: Sheet, resolution: int | None, reading: Reading) -> None:
        """Take every row of a file.

        Raises:
            InputError: a layer has two different times.
        """
        for row in sheet.rows:
            if row.name in self.mapped:
                self._used.add(row.name)
            try:
                if row.time is None:
                    raise Unmatched("it has no time")
                for name in self._names(row):
                    match = self._match(row, name, resolution, reading)
                    self._stated |= {at for at in [row.resolution or resolution] if at}
                    self._enter(match, row.time, row.name, sheet.at(row))
            except Unmatched as error:
                self.unmapped.append(UnmappedRow(sheet.name, row.line, row.name[:500], str(error)))

    def _match(self, row: Row, name: str, resolution: int | None, reading: Reading) -> Match:
        at = row.resolution or resolution
        try:
            return self.index.match(name, reading, at)
        except Unmatched:
            if not row.details:
                raise
            return self.index.match(f"{name}-{row.details}", reading, at)

    def _enter(self, match: Match, time: LayerLatency, name: str, where: str) -> None:
        self._pooled |= match.pooled
        for key in match.keys:
            other = self._entries.get(key)
            if other is None or match.odd < other.odd:
                self._entries[key] = _Taken(time, where, match.odd)
            elif match.odd > other.odd:
                raise Unmatched(f"{other.where} is of the same layer, and fits better")
            elif other.time != time:
                raise InputError(
                    f"{where}: {shown(name)}: {time.p50_ms:g} ms, but {other.where} has "
                    f"{other.time.p50_ms:g} ms of the same layer ({key}): leave one of them out"
                )
            else:
                self._repeated.append(where)

    def complete(self) -> tuple[dict[str, LayerLatency], tuple[Note, ...]]:
        """The entries of a table, if it has every layer of the resolutions that it covers.

        Raises:
            IncompleteTable: it has not.
        """
        found = {key: taken.time for key, taken in self._entries.items()}
        if not found:
            raise IncompleteTable(self.index.space.name, (), self.unmapped)
        covered = self._covered(found)
        negligible = LayerLatency(p50_ms=NEGLIGIBLE_MS, mean_ms=NEGLIGIBLE_MS, std_ms=0.0, count=1)
        missing: dict[str, None] = {}
        means: dict[str, None] = {}
        kept: dict[str, LayerLatency] = {}
        for resolution in covered:
            for layer in self.index.needed[resolution].values():
                by_resolution, key = f"{layer.key}@{resolution}", layer.key
                here = [k for k in (by_resolution, key) if k in found]
                kept |= {k: found[k] for k in here}
                if here:
                    continue
                (means if is_mean(layer) else missing)[self._wanted(layer.key, resolution)] = None
        if missing:
            raise IncompleteTable(self.index.space.name, list(missing), self.unmapped)
        kept |= dict.fromkeys(means, negligible)
        return kept, tuple(self._notes(means))

    def _covered(self, found: Mapping[str, LayerLatency]) -> list[int]:
        """The resolutions that a row is for, or whose first layer has a time; all if none is."""
        covered = {
            resolution
            for resolution, stem in self.index.stems.items()
            if stem.key in found or at_resolution(stem) in found
        }
        return sorted(covered | self._stated or self.index.stems)

    def _wanted(self, key: str, resolution: int) -> str:
        """The key of a missing layer, in the form of those that are there."""
        stated = any(taken_key.endswith(f"@{resolution}") for taken_key in self._entries)
        return f"{key}@{resolution}" if stated else key

    def _notes(self, means: Mapping[str, None]) -> Iterator[Note]:
        if means:
            how = "is part of the classifier's time" if self._pooled else "counts as negligible"
            text = f"the files have no time of the mean before the classifier, which {how}"
            yield Note("import", text)

    def all_warnings(self, table: LatencyTable) -> Iterator[str]:
        """What a user is told about a table beside what its checks find."""
        yield from self.warnings
        space = self.index.space
        covered = table.covered(space).resolutions
        if len(covered) < len(space.resolutions):
            yield (
                f"the table covers {len(covered)} of the {len(space.resolutions)} resolutions of "
                f"space {space.name!r}: {_some(covered)}"
            )
        if odd := sorted({t.where for t in self._entries.values() if t.odd}):
            yield (
                f"{_rows(len(odd))} taken by shape, stating another activation or shortcut than "
                f"the layer has, first {odd[0]}"
            )
        if self._repeated:
            yield (
                f"{_rows(len(self._repeated))} with the same name and time as another, first "
                f"{self._repeated[0]}"
            )
        if unused := sorted(self.mapped.keys() - self._used):
            yield f"names of the mapping in no file: {len(unused)}, first {unused[0]!r:.99}"
        if self.unmapped:
            yield f"{_rows(len(self.unmapped))} of no layer of the space: {self._reasons()}"

    def _reasons(self) -> str:
        reasons = Counter(row.why for row in self.unmapped).most_common(SHOWN)
        return "; ".join(f"{count} x {why}" for why, count in reasons)


def _rows(count: int) -> str:
    return f"{count} row{'s' if count != 1 else ''}"


def _some(numbers: Sequence[int]) -> str:
    """Numbers in a sentence: all of a few, else the ends."""
    if len(numbers) <= 8:
        return ", ".join(map(str, numbers))
    return f"{numbers[0]}, {numbers[1]}, ... {numbers[-1]}"
