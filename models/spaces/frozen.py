"""What a user froze of a search space: of some genes only some choices are kept.

A key names genes, `[PLACE.]GENE`, and its value the choices kept, one or a list:

* `resolution`, `kernel`, `expand`, `depth`, `width`: every gene of that kind,
* `stage2.kernel`, `stage2.depth`, `stem.width`: those of a stage, counted from 1, or of the stem,
* `stage2_block3.kernel`: that of a block, counted from 1,
* `stage2.blocks`: exactly these blocks, each as answers print it (kernel x expansion): ["5x4",
  "7x6"].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.errors import InvalidDocument, show_value
from models.spaces.genes import Gene
from models.spaces.part import SpacePart
from models.spaces.space import SearchSpace

ROOT = "frozen"
MOST = 1e9
"""Of a choice; every real one is far below."""
Frozen = Mapping[str, Sequence[float | str]]


def read_frozen(value: object) -> dict[str, list[float | str]]:
    """The canonical form of what a user wrote: keys sorted, choices in lists, ascending, each once.

    Raises:
        InvalidDocument: if it is no mapping, or a value neither a choice nor a list of choices.
    """
    if not isinstance(value, Mapping):
        text = f'expected an object such as {{"kernel": [3, 5]}}, got {show_value(value)}'
        raise InvalidDocument.at(ROOT, (), text)
    return {key: _choices(key, value[key]) for key in sorted(value)}


def _choices(key: str, value: object) -> list[float | str]:
    items: Sequence[object] = value if isinstance(value, list | tuple) else [value]
    texts = [item for item in items if isinstance(item, str)]
    numbers = [i for i in items if isinstance(i, int | float) and not isinstance(i, bool)]
    kept, kind = (texts, "text") if key.endswith(".blocks") else (numbers, "numbers")
    if not items or len(kept) < len(items):
        wrong = next((item for item in items if item not in kept or isinstance(item, bool)), [])
        raise InvalidDocument.at(
            ROOT, (key,), f"expected {kind}, one or a list, got {show_value(wrong)}"
        )
    if kept is texts:
        return list(texts)
    if wide := [n for n in numbers if not abs(n) <= MOST]:  # nor NaN
        text = f"expected numbers up to {MOST:g}, got {show_value(wide[0])}"
        raise InvalidDocument.at(ROOT, (key,), text)
    return sorted({int(n) if n == int(n) else n for n in numbers})


def frozen_part(space: SearchSpace, frozen: Frozen) -> SearchSpace:
    """The part of `space` that is left; `space` itself if everything is.

    Args:
        frozen: as `read_frozen` gives it.

    Raises:
        InvalidDocument: if a key names no gene, or a choice is none of its genes', or of some gene
            no choice is left.
    """
    kept = [set(range(len(gene.choices))) for gene in space.genes]
    for key, choices in frozen.items():
        for column, own in _named(space, key, choices).items():
            gene = space.genes[column]
            indices = {i for i, choice in enumerate(gene.choices) if choice in own}
            if not kept[column] & indices:
                left = [f"{gene.choices[i]:g}" for i in sorted(kept[column])]
                raise InvalidDocument.at(
                    ROOT,
                    (key,),
                    f"no choice of {place_of(space, gene)} is left: expected one of "
                    f"{', '.join(left)}, got {', '.join(f'{c:g}' for c in own)}",
                )
            kept[column] &= indices
    if all(len(k) == len(gene.choices) for k, gene in zip(kept, space.genes, strict=True)):
        return space
    return SpacePart.of(space, [sorted(k) for k in kept])


def place_of(space: SearchSpace, gene: Gene) -> str:
    """How people name a gene: `resolution`, `stage2.depth`, `stage2_block3.kernel`, `stem.width`.

    The genes of a ResNet's stem come before those of its stages.
    """
    if gene.block >= 0:
        return f"stage{gene.stage + 1}_block{gene.block + 1}.{gene.name}"
    if gene.stage < 0:
        return gene.name
    last = max(g.stage for g in space.genes if g.name == gene.name and g.block < 0)
    first = last - len(space.block_counts) + 1
    stage = "stem" if gene.stage < first else f"stage{gene.stage - first + 1}"
    return f"{stage}.{gene.name}"


def _named(
    space: SearchSpace, key: str, choices: Sequence[float | str]
) -> dict[int, Sequence[float]]:
    """The choices kept of each gene that `key` names, by column."""
    place, _, name = key.rpartition(".")
    if name == "blocks":
        return _blocks(space, key, place, [str(choice) for choice in choices])
    columns = [
        column
        for column, gene in enumerate(space.genes)
        if gene.name == name and _is_within(place_of(space, gene), place)
    ]
    if not columns:
        raise InvalidDocument.at(ROOT, (key,), _unknown(space))
    numbers = [float(choice) for choice in choices]
    known = {choice for column in columns for choice in space.genes[column].choices}
    if unknown := [n for n in numbers if n not in known]:
        shown = ", ".join(f"{choice:g}" for choice in sorted(known))
        raise InvalidDocument.at(ROOT, (key,), f"expected some of {shown}, got {unknown[0]:g}")
    return dict.fromkeys(columns, numbers)


def _is_within(gene_place: str, place: str) -> bool:
    """Whether a gene is in `place`: "" is everywhere, a stage holds its blocks."""
    own = gene_place.rpartition(".")[0]
    return place in ("", own, own.partition("_block")[0])


def _blocks(
    space: SearchSpace, key: str, place: str, blocks: Sequence[str]
) -> dict[int, Sequence[float]]:
    """The depth of a stage, and each gene of its blocks."""
    stages = {f"stage{s + 1}": s for s in range(len(space.block_counts))}
    if place not in stages:
        raise InvalidDocument.at(ROOT, (key,), _unknown(space))
    stage = stages[place]
    counts, depth = space.block_counts[stage], space.depth_columns[stage]
    if len(blocks) not in counts:
        numbers = ", ".join(map(str, counts))
        raise InvalidDocument.at(ROOT, (key,), f"expected {numbers} blocks, got {len(blocks)}")
    kept: dict[int, Sequence[float]] = {
        depth: [space.genes[depth].choices[counts.index(len(blocks))]]
    }
    for b, text in enumerate(blocks):
        columns = space.block_columns[stage, b]
        names = " x ".join(space.genes[column].name for column in columns)
        for column, value in zip(columns, _values(key, text, names, len(columns)), strict=True):
            if value not in (choices := space.genes[column].choices):
                shown = ", ".join(f"{choice:g}" for choice in choices)
                gene = place_of(space, space.genes[column])
                raise InvalidDocument.at(
                    ROOT, (key,), f"{gene}: expected one of {shown}, got {value:g}"
                )
            kept[column] = [value]
    return kept


def _values(key: str, text: str, names: str, count: int) -> list[float]:
    try:
        values = [float(part) for part in text.split("x")]
    except ValueError:
        values = []
    if len(values) != count:
        raise InvalidDocument.at(
            ROOT, (key,), f"expected each block as {names}, such as "
            f"{'x'.join(['5', '4'][:count])}, got {show_value(text)}"
        )  # fmt: skip
    return values


def _unknown(space: SearchSpace) -> str:
    names = sorted({gene.name for gene in space.genes})
    return (
        f"names no gene of space {space.name!r}: expected one of {', '.join(names)}, for one stage "
        f"(stage1.{space.genes[-1].name} to stage{len(space.block_counts)}), for one block "
        f"(stage1_block1.{space.genes[-1].name}), or stage1.blocks"
    )
