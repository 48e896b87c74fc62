"""The C library's memory, in a process that hands large blocks from thread to thread.

glibc gives a large block a mapping of its own, which goes back to the system when it is freed. But each one that is
freed raises the bound from which on that is so, up to 32 MiB (mallopt(3), M_MMAP_THRESHOLD): then the parts of an
archive lie in the heaps of the threads that fetch them, between small blocks that stay, and the process keeps them.
Bounds that are set stay where they are. Lower ones keep less memory and cost more: each page that comes back is
cleared first. Arrow has an allocator of its own.
"""

from __future__ import annotations

import ctypes

MIB = 1024 * 1024  # bytes

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# Less than a range of an archive, and more than what is worked on at once.
_MAPPED_BYTES = 4 * 1024 * 1024
# Of free memory at the end of a heap.
_TRIM_BYTES = 8 * 1024 * 1024


def give_large_blocks_back() -> bool:
    """Let every block of 4 MiB and more go back to the system when it is freed, in this process from now on.

    Returns:
        Whether the C library can; where it cannot, nothing is changed.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES) and mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES))
