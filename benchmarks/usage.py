"""CPU and memory of a process and its children, read from /proc (Linux)."""

import os
import re
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Returns the CPU time so far, user and system, of the process and its children, including ended ones."""
    own = sum((int(f[11]) + int(f[12])) / TICKS for f in map(_stat, _family(pid)))
    ended = _stat(pid)
    return own + (int(ended[13]) + int(ended[14])) / TICKS


def memory_mb(pid: int, name: str) -> float:
    """Returns `VmRSS` (current) or `VmHWM` (peak) of the process without its children, in MB."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    if found is None:
        raise RuntimeError(f"/proc has no {name} for process {pid}.")
    return int(found[1]) / 1024


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has just ended; its parent includes its CPU time
        return ["0"] * 20


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(grandchild for child in children for grandchild in _family(int(child)))]
