"""Memory settings of a long-lived process."""

import ctypes
import gc

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's option numbers (mallopt(3))."""
LARGE, SPARE = 4 * 2**20, 16 * 2**20
"""Bytes: the size from which a free block is returned to the system at once, and the free memory that is kept."""


def prepare() -> None:
    """Excludes loaded modules from garbage collection, and returns large free blocks to the system.

    Call it once everything is loaded. Modules, routes and schemas live as long as the process: scanning them in every
    collection caused a pause of 100 ms and more every few hundred calls. By default, glibc adapts and keeps the blocks
    of a 10 MB image for the next one.
    """
    gc.collect()
    gc.freeze()
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries do not have it
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, SPARE)
