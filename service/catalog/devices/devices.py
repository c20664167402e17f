"""Users' tables and those that come with the program, by name, as far as a caller sees them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from latency_tables.published import BuiltinDevices, choose_table
from latency_tables.table import HEAD_CHARS, runtime_in
from models.errors import Conflict, NotFound
from service.catalog.devices.kept import KeptTable, OpenStore
from service.contracts import LOCAL, Caller, NotAllowed, TableRevision

if TYPE_CHECKING:
    from latency_tables.table import LatencyTable, TableKey
    from service.storage import DeviceStore, Revision, Seen


class Devices:
    """The devices of one installation: those that come with the program, and the users'."""

    def __init__(
        self,
        open_store: OpenStore | None = None,
        builtin: BuiltinDevices | None = None,
    ) -> None:
        """
        Args:
            open_store: called once, when a user's table is first asked for; without it there are
                only the devices that come with the program.
        """
        self._open_store = open_store
        self._store: DeviceStore | None = None
        self._builtin = builtin or BuiltinDevices()
        self._caller = LOCAL
        self._files: dict[tuple[str, TableKey], KeptTable] = {}
        self._runtimes: dict[str, str | None] = {}
        """Of users' tables, by the hash of their text, which never changes."""

    def seen_by(self, caller: Caller) -> Devices:
        """The same devices as far as `caller` sees them."""
        _ = self.store, self._shipped_keys  # computed once, shared by all copies
        seen = copy.copy(self)
        seen._caller = caller
        return seen

    @property
    def _own_and_shared(self) -> tuple[str, ...]:
        """Whose devices a name means: the shared ones, and the caller's own, which hide them."""
        return ("", self._caller.owner) if self._caller.owner else ("",)

    @property
    def _seen(self) -> Seen:
        """Whose devices the caller sees at all."""
        return None if self._caller.sees_all else self._own_and_shared

    def _named(self, private_to: str, device: str) -> str:
        """What a device is called, for this caller."""
        return device if private_to in self._own_and_shared else f"{device}@{private_to}"

    def _meant(self, name: str) -> tuple[str, Seen]:
        """The device that a name means, and among whose."""
        device, _, owner = name.partition("@")
        if owner and (self._caller.sees_all or owner == self._caller.owner):
            return device, (owner,)
        return name, self._own_and_shared

    @property
    def store(self) -> DeviceStore | None:
        """Users' tables; None if there is no database yet, which reading does not create."""
        if self._store is None and self._open_store is not None:
            self._store = self._open_store(False)
        return self._store

    @cached_property
    def _shipped_keys(self) -> Mapping[str, list[TableKey]]:
        """Of the devices that come with the program, which stay as they are while it runs."""
        return {name: self._builtin.keys(name) for name in self._builtin.names()}

    def names(self) -> list[str]:
        """All names, sorted."""
        return list(self.keys())

    def keys(self) -> dict[str, list[TableKey]]:
        """Space and precision of every table, by device, without reading the tables."""
        found = {name: self._builtin.keys(name) for name in self._builtin.names()}
        own = [] if self.store is None else self.store.keys(self._seen)
        for private_to, device, space, precision in own:
            found.setdefault(self._named(private_to, device), []).append((space, precision))
        return {device: sorted(set(found[device])) for device in sorted(found)}

    def runtimes(self) -> dict[tuple[str, TableKey], str | None]:
        """The runtime of every table, by device, space and precision; none is read."""
        found = self._builtin.runtimes()
        if self.store is None:
            return found
        own = self._sha256_by_name({device for _, device, _, _ in self.store.keys(self._seen)})
        if new := set(own.values()) - set(self._runtimes):
            heads = self.store.heads(new, HEAD_CHARS)
            self._runtimes |= {sha256: runtime_in(head) for sha256, head in heads.items()}
        return found | {key: self._runtimes.get(sha256) for key, sha256 in own.items()}

    def get(self, name: str) -> list[KeptTable]:
        """The current tables of a device, by space and precision.

        Raises:
            NotFound: with the nearest known name.
        """
        # A table that comes with the program and was corrected by measurements is a user's too.
        found = {key: self._shipped(name, key) for key in self._builtin.keys(name)}
        found |= self._own(name)
        if not found:
            raise self._unknown(name)
        return [found[key] for key in sorted(found)]

    def _unknown(self, name: str) -> NotFound:
        names = self.names()
        if theirs := [known for known in names if known.startswith(f"{name}@")]:
            return NotFound(
                f"device {name!r} is neither yours nor shared; say whose private one you mean: "
                f"{', '.join(theirs)}"
            )
        return NotFound.named("device", name, names)

    def sees_table(self, name: str, sha256: str) -> bool:
        """Whether the caller sees a device that has this table, or had it in an earlier revision.

        Args:
            name: of the device, if it comes with the program.
            sha256: of the table's text.
        """
        if any(self._shipped(name, key).sha256 == sha256 for key in self._builtin.keys(name)):
            return True
        return self.store is not None and self.store.has_text(sha256, self._seen)

    def revisions(self, kept: KeptTable) -> list[TableRevision]:
        """Those of a table, the newest first; none of one that comes with the program."""
        if self.store is None or kept.revision is None:
            return []
        private_to, table = "" if kept.shared else str(kept.owner), kept.table
        precision = table.conditions.precision
        return self.store.revisions(private_to, table.device, table.space, precision)

    def _own(self, name: str) -> dict[TableKey, KeptTable]:
        return {
            (r.space, r.precision): KeptTable(
                _read(r.content), r.sha256, r.number, r.created_at, r.owner, r.shared
            )
            for r in (() if self.store is None else self._current(name))
        }

    def _shipped(self, name: str, key: TableKey) -> KeptTable:
        """Files that come with the program stay as they are while it runs."""
        if (name, key) not in self._files:
            table = self._builtin.table(name, key)
            assert table is not None
            self._files[name, key] = KeptTable(table, table.sha256, None, None)
        return self._files[name, key]

    def _current(self, name: str) -> list[Revision]:
        """Current tables of the device that a name means: shared ones, then the caller's own."""
        assert self.store is not None
        return self.store.current(*self._meant(name))

    def remove(
        self, name: str, space: str | None = None, precision: str | None = None
    ) -> list[Revision]:
        """Remove a user's tables of a device, with every revision; returns the current ones.

        If there is a shared device of this name and a private one, the caller's own is removed.
        Searches keep the tables that they were asked with.

        Args:
            space: only tables for this space; None: for any.
            precision: only tables at this precision; None: at any.

        Raises:
            NotFound: the caller sees no such device, or it has no such table.
            NotAllowed: it is not theirs.
            Conflict: it comes with the program.
        """
        present = [] if self.store is None else self._current(name)
        if not present:
            self.get(name)  # reports an unknown name
            raise Conflict(f"device {name!r} comes with the program, and cannot be removed")
        meant = present[-1]
        found = [
            revision
            for revision in present
            if revision.private_to == meant.private_to
            and space in (None, revision.space)
            and precision in (None, revision.precision)
        ]
        if not found:
            known = [f"{r.space} ({r.precision})" for r in present]
            raise NotFound(
                f"device {name!r} has no such table of a user's, but {', '.join(known)}; got space "
                f"{space!r}, precision {precision!r}"
            )
        if not all(self._caller.owns(revision.owner) for revision in found):
            raise NotAllowed(f"device {name!r} is not yours: its owner removes it, or an admin")
        assert self.store is not None
        keys = [(revision.space, revision.precision) for revision in found]
        self.store.remove(meant.device, meant.private_to, keys)
        return found

    def check_changeable(self, name: str) -> None:
        """Refuse to let anybody but its owner change a device.

        Raises:
            NotFound: if the caller sees no such device.
            NotAllowed: if it is not theirs.
        """
        if not all(self._caller.owns(kept.owner) for kept in self.get(name)):
            raise NotAllowed(f"device {name!r} is not yours: add one under a name of your own")

    def tables(self, name: str) -> list[LatencyTable]:
        """The current tables of a device, one a space and precision.

        Raises:
            NotFound: with the nearest known name.
        """
        return [item.table for item in self.get(name)]

    def add(
        self,
        table: LatencyTable,
        *,
        replace: bool = False,
        follows: KeptTable | None = None,
        measurements: Mapping[str, Any] | None = None,
        shared: bool | None = None,
    ) -> Revision:
        """Keep a table under its device's name, as a new revision; see `DeviceStore.add`.

        Args:
            follows: what it was computed from, and becomes the next revision of; also a table that
                comes with the program.
            shared: whether everybody sees it, which is so where no keys are asked for. None: as
                it is of the present revision, else no.

        Raises:
            Conflict: if that device has a table for that space and precision and `replace` is
                false, or the one that it has comes with the program, or is not `follows` any more.
        """
        assert self._open_store is not None, "devices without a store keep nothing"
        self._store = store = self.store or self._open_store(True)
        assert store is not None
        precision = table.conditions.precision
        if follows is None and (table.space, precision) in self._builtin.keys(table.device):
            raise Conflict(
                f"device {table.device!r} has a table for space {table.space!r} at {precision} "
                "that is built in: choose another name"
            )
        if not replace and follows is None:
            self._check_runtime(table)
        owner, before = self._caller.owner, None
        if follows is not None:
            shared, owner = follows.shared, follows.owner
            before = "" if follows.revision is None else follows.sha256
        elif replace and shared is None and (present := self._current(table.device)):
            shared, owner = present[-1].shared, present[-1].owner  # what the name means
        return store.add(
            table,
            replace=replace or follows is not None,
            follows=before,
            measurements=measurements,
            owner=owner,
            shared=bool(shared) or owner is None,
        )

    def _check_runtime(self, table: LatencyTable) -> None:
        """Refuse a second runtime for one name, space and precision, naming both runtimes."""
        key = (table.space, table.conditions.precision)
        if (kept := self._own(table.device).get(key)) is None:
            return
        there, here = kept.table.conditions.runtime, table.conditions.runtime
        if there != here:
            raise Conflict(
                f"device {table.device!r} has a table for space {table.space!r} at {key[1]}, of "
                f"{there}: a device is hardware and a runtime, so choose another name for {here}, "
                f"such as {table.device}-{here}"
            )

    def table(self, name: str, space: str, precision: str | None = None) -> LatencyTable:
        """The current table of a device; see `kept`."""
        return self.kept(name, space, precision).table

    def kept(self, name: str, space: str, precision: str | None = None) -> KeptTable:
        """The current table of a device, and where it is kept.

        Raises:
            NotFound: if there is no such device, or it has no such table.
        """
        own = self._own(name)
        keys = {*own, *self._builtin.keys(name)}
        if not keys:
            raise self._unknown(name)
        key = choose_table(name, keys, space, precision)
        return own[key] if key in own else self._shipped(name, key)

    def table_of_hash(self, name: str, sha256: str) -> LatencyTable | None:
        """The table with this hash: one of `name` that comes with the program, or one that
        somebody's device has or had; None if it is not here any more."""
        for key in self._builtin.keys(name):
            if (shipped := self._shipped(name, key)).sha256 == sha256:
                return shipped.table
        content = None if self.store is None else self.store.content(sha256)
        return None if content is None else _read(content)

    def holds(self, table: LatencyTable) -> bool:
        """Whether this very table is a current one of its device."""
        return table.sha256 in self.current_sha256([table.device]).get(table.device, ())

    def current_sha256(self, names: Iterable[str]) -> dict[str, set[str]]:
        """What the current tables of each device hash to; unknown devices are left out. Those who
        see all see searches of every owner: for them every owner's device of a name counts.

        One query for all of them, and no table is read twice.
        """
        wanted = set(names)
        found: dict[tuple[str, TableKey], str] = {
            (name, key): self._shipped(name, key).sha256
            for name in wanted
            for key in self._shipped_keys.get(name, ())
        }
        by_name: dict[str, set[str]] = {}
        for (name, _), sha256 in (found | self._sha256_by_name(wanted)).items():
            by_name.setdefault(name.partition("@")[0], set()).add(sha256)
        return by_name

    def _sha256_by_name(self, devices: Iterable[str]) -> dict[tuple[str, TableKey], str]:
        """Of users' current tables, by what the devices are called."""
        found = {} if self.store is None else self.store.current_sha256(devices, self._seen)
        return {
            (self._named(private_to, device), key): sha256
            for (private_to, device, key), sha256 in found.items()
        }

    def has_costs_of(self, name: str, sha256: str) -> bool:
        """Whether a current table of a device predicts what an earlier table did, of which this is
        the hash: it has another sitting, say."""
        content = None if self.store is None else self.store.content(sha256)
        if content is None:
            return False
        costs = _read(content).costs_sha256
        meant = [known for known in self.names() if known.partition("@")[0] == name]
        return any(kept.table.costs_sha256 == costs for each in meant for kept in self.get(each))


@lru_cache(maxsize=64)
def _read(content: str) -> LatencyTable:
    from latency_tables.table import table_from_json

    return table_from_json(content)
