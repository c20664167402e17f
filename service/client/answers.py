"""Answers of the client: fronts and searches, drawn in Jupyter and readable as pandas tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from models.errors import SubnetSearchError
from models.spaces import Arch
from service.client import notebook
from service.client.errors import NotFinished
from service.contracts import (
    FINISHED,
    FrontRead,
    SearchRead,
    SearchResult,
    limit_names,
    search_columns,
    search_row,
)

if TYPE_CHECKING:
    import pandas


class Front(FrontRead):
    """The accuracy-latency front of a supernet on a device, by increasing latency."""

    def to_pandas(self) -> pandas.DataFrame:
        """One row a network: top1 (percent, predicted), latency_ms (predicted, for a whole batch),
        macs, params, ..., latency_ms_per_image, arch. `.attrs` has the expected errors, the
        batch and the runtime.

        Raises:
            SubnetSearchError: if pandas is not installed.
        """
        rows = [
            {
                "top1": point.top1,
                **point.limit_numbers(),
                "latency_ms_per_image": point.latency_ms_per_image,
                "arch": point.arch.model_dump(),
            }
            for point in self.points
        ]
        further = (name for row in rows for name in row)
        last = ("latency_ms_per_image", "arch")
        names = dict.fromkeys(["latency_ms", "top1", *limit_names(), *last, *further])
        frame = _pandas().DataFrame(rows, columns=list(names))
        frame.attrs["expected_error"] = dict(self.expected_error)
        frame.attrs["batch"], frame.attrs["runtime"] = self.batch, self.runtime
        return frame

    def _repr_html_(self) -> str:
        return notebook.front_html(self)


class Search(SearchRead):
    """A search as the service answered it, with shortcuts to the fields of its result."""

    @property
    def finished(self) -> bool:
        """Whether the search has ended: succeeded, failed or cancelled."""
        return self.status in FINISHED

    @property
    def found(self) -> SearchResult:
        """The result.

        Raises:
            NotFinished: if there is none.
        """
        if self.result is None:
            raise NotFinished(f"search {self.id} is {self.status} and has no result", self)
        return self.result

    @property
    def arch(self) -> Arch:
        """The network found."""
        return Arch.from_json(self.found.arch.model_dump())

    @property
    def top1(self) -> float:
        """Its predicted accuracy, percent; expected error in `result.provenance`."""
        return self.found.top1

    @property
    def latency_ms(self) -> float:
        """Its predicted latency, milliseconds for `found.batch` images together; expected error in
        `result.provenance`."""
        return self.found.latency_ms

    @property
    def macs(self) -> int:
        """Its multiply-accumulates of one image, exact."""
        return self.found.macs

    @property
    def params(self) -> int:
        """Its trainable values, exact."""
        return self.found.params

    @property
    def sha256(self) -> str:
        """Of its ONNX file."""
        return self.found.sha256

    def _repr_html_(self) -> str:
        return notebook.search_html(self)


class Searches(Iterator[Search]):
    """An iterator of stored searches, fetched page by page as they are needed."""

    def __init__(self, items: Iterator[Search]) -> None:
        self._items = items

    def __next__(self) -> Search:
        return next(self._items)

    def to_pandas(self) -> pandas.DataFrame:
        """One row for each remaining search, indexed by id; unknown values are NaN or None.

        Columns: status, supernet, device, precision, seed, `limit_...` and `minimum_...` for each
        limit, latency_confidence (of the limit of the latency), target_top1 and minimize (of a
        target), frozen (parts that were fixed), top1 and latency_ms (predicted), `measured_top1`
        and `measured_latency_ms` (p50; where they were measured), macs, params, model_bytes,
        peak_memory_bytes, energy_mj, batch (images of the latencies), runtime (of the latencies),
        latency_ms_per_image, latency_outcome (of the measured p50: met, met_within_error),
        current, created_at, finished_at, sha256, arch, effort.

        Raises:
            SubnetSearchError: if pandas is not installed.
        """
        pandas = _pandas()
        rows = list(map(search_row, self))
        return pandas.DataFrame(rows, columns=search_columns(rows)).set_index("id")


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise SubnetSearchError(
            "to_pandas() needs pandas, which is not installed: pip install 'pandas>=3.1', or "
            "install this project with its extra `notebook`"
        ) from error
    return pandas
