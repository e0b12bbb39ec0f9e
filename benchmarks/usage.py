"""What a process and its children use, read from /proc (Linux)."""

import os
import re
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """CPU so far, user and system, of the process and its children, also of those that ended."""
    own = sum((int(f[11]) + int(f[12])) / TICKS for f in map(_stat, _family(pid)))
    ended = _stat(pid)
    return own + (int(ended[13]) + int(ended[14])) / TICKS


def memory_mb(pid: int, name: str) -> float:
    """`VmRSS` (now) or `VmHWM` (the most so far) of the process alone, in MB."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    if found is None:
        raise RuntimeError(f"/proc says no {name} of process {pid}.")
    return int(found[1]) / 1024


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it ended in this moment; its parent knows what it used
        return ["0"] * 20


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(grandchild for child in children for grandchild in _family(int(child)))]
