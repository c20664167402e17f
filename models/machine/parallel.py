"""Batches on several threads, with the results of one thread.

torch and ONNX Runtime split one operator over threads, which changes the order of sums and scales
badly for small networks. Here each batch runs on one thread, and results come in order.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """`map(work, items)` on several threads; each of torch's operators runs on one thread.

    No more items are drawn ahead than there are threads.
    """
    if threads == 1:
        for item in items:
            with _one_thread():
                answer = work(item)
            yield answer
        return
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool, _one_thread():
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
