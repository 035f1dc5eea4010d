"""A disk that is full, as far as a test's own writes are concerned."""

from __future__ import annotations

import contextlib
import resource


@contextlib.contextmanager
def files_at_most(num_bytes: int):
    """Any write that would make a file longer fails in this process, in native code too.

    The kernel reports EFBIG where a full disk gives ENOSPC; to a program both are a failed write half way through a file.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
