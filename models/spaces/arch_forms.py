"""Reading architectures in every form that is known, and keeping what is to be said of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from models.spaces.arch import Arch, form_of, register_arch_form
from models.spaces.net_config import is_net_config, read_net_config
from models.spaces.ofa_form import is_ofa, read_ofa

if TYPE_CHECKING:
    from models.spaces.space import SearchSpace

register_arch_form("OFA's net.config", is_net_config, read_net_config, with_space=True)
register_arch_form("OFA's flat lists", is_ofa, read_ofa, with_space=True)


@dataclass(slots=True)
class ArchReader:
    """Reads architectures of a space: a function from a JSON value to an `Arch`, which raises
    `InvalidDocument` with the place."""

    space: SearchSpace
    count: int = 0
    """Of architectures read so far."""
    _notes: Counter[str] = field(default_factory=Counter)

    def __call__(self, value: object) -> Arch:
        said: list[str] = []
        form = form_of(value)
        if form is None:
            arch = Arch.from_json(value, self.space.own_field)
        else:
            arguments = (self.space, said.append) if form.with_space else ()
            arch = form.read(value, *arguments)
        self.space.validate(arch)
        self.count += 1
        self._notes.update(list(dict.fromkeys(said)))
        return arch

    @property
    def warnings(self) -> list[str]:
        """What was ignored, and in how many of several networks."""
        return [
            text if self.count == 1 else f"{count} of {self.count} networks: {text}"
            for text, count in self._notes.items()
        ]
