"""One thread for BLAS, so that the same search gives the same bits on any machine's threads.

Products of matrices are added up in another order on another number of threads. One different last
bit of a prediction is enough for another search.
"""

from __future__ import annotations

from threadpoolctl import ThreadpoolController


def one_blas_thread() -> None:
    """From now on BLAS has one thread in this process.

    Not lifted after a search: another may be under way in another thread, and of those that limit
    one after the other the last to leave is not allowed to lift it (threadpoolctl 3.8).
    """
    ThreadpoolController().limit(limits=1, user_api="blas")
