"""One thread for BLAS, so that a search gives the same bits with any number of threads.

The order of summation in a product of matrices depends on the number of threads, and one different
last bit of a prediction is enough for a different search.
"""

from __future__ import annotations

from threadpoolctl import ThreadpoolController


def one_blas_thread() -> None:
    """Limit BLAS to one thread in this process from now on.

    The limit stays after a search, because another search may be running in another thread, and
    threadpoolctl 3.8 cannot nest limits across threads.
    """
    ThreadpoolController().limit(limits=1, user_api="blas")
