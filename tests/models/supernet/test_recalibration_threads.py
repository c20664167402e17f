"""Batches on threads, and memory that is kept: against the plain loop and the kernel's counts."""

import subprocess
import sys
import threading
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.machine.memory import give_back_memory, keep_freed_memory
from models.machine.parallel import cores, in_order


@pytest.mark.slow
@given(st.lists(st.integers()), st.integers(1, 5))
def test_answers_are_those_of_a_loop_in_its_order(items, threads):
    assert list(in_order(lambda n: n * n, iter(items), threads)) == [n * n for n in items]


def test_no_more_is_drawn_than_there_are_threads_and_one():
    drawn, done = [], []

    def items():
        for n in range(20):
            drawn.append(n)
            yield n

    for answer in in_order(lambda n: n, items(), 3):
        done.append(answer)
        assert len(drawn) - len(done) <= 4


def test_works_at_the_same_time():
    """Each waits for the others: one after another, none would ever end."""
    together = threading.Barrier(3, timeout=300)
    assert len(list(in_order(lambda _: together.wait(), range(3), 3))) == 3


def test_an_operator_stays_on_one_thread_and_the_setting_comes_back():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for threads in (1, 2):
            assert set(in_order(lambda _: torch.get_num_threads(), range(4), threads)) == {1}
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_an_error_is_the_callers():
    def fail(n):
        time.sleep(0.01 * n)
        raise ValueError(n)

    for threads in (1, 3):
        with pytest.raises(ValueError, match="0"):
            list(in_order(fail, range(5), threads))


def test_there_is_a_core():
    assert cores() >= 1


FAULTS = """
import resource, torch
from models.machine import give_back_memory, keep_freed_memory

def work():
    return (torch.zeros(10_000_000) + 1).relu()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def size():
    return int(open("/proc/self/statm").read().split()[1])

def turns():
    for _ in range(8):
        work()
    before = faults()
    for _ in range(5):
        work()
    return faults() - before

plain, kept = turns(), keep_freed_memory()
faulted, full = turns(), size()
give_back_memory()
print(int(kept), plain, faulted, full - size())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
@pytest.mark.slow
def test_kept_memory_is_not_mapped_anew_and_can_be_given_back():
    """40 MB are 9,765 pages: each turn takes its three tensors from the kernel, or none does.
    Two of them are alive at a time, so at least as much is kept."""
    command = [sys.executable, "-c", FAULTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    kept, plain, faults, given_back = (int(word) for word in done.stdout.split())
    if not kept:
        pytest.skip("this C library keeps nothing")
    assert plain > 5 * 3 * 9_700
    assert faults < plain / 10
    assert given_back > 2 * 9_700


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
    give_back_memory()
