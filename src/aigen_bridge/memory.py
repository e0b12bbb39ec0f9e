"""What a long-lived process does about memory, once everything is loaded."""

import ctypes
import gc

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's options (mallopt(3))."""
LARGE, SPARE = 4 * 2**20, 16 * 2**20
"""Bytes: from which size on a block is given back to the system at once, and how many may be kept for the next."""


def prepare() -> None:
    """Leave what is loaded for good out of garbage collection, and give large blocks back when they are free.

    Modules, routes and schemas live as long as the process: walking them in every collection was a pause of 100 ms and
    more every few hundred calls. And glibc by itself learns to keep the blocks of an image of 10 MB for the next.
    """
    gc.collect()
    gc.freeze()
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # another C library knows its own way
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, SPARE)
