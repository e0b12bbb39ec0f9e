"""Metrics as Prometheus reads them, also when several API processes share one port.

Several processes write to files that each of them can read (prometheus-client's multiprocess mode), so whichever
answers a scrape answers for all. A single process needs no files, and tells of its memory and open files, too.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that prometheus-client looks at when it is imported."""


@contextmanager
def shared_between_processes() -> Iterator[None]:
    """Processes that are started inside share their metrics, in a folder that is empty at first and gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="aigen-metrics-") as folder:
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER]


def as_text(more: Iterable[Metric] = ()) -> bytes:
    """The metrics of this process, or of all that share a folder with it, and `more`."""
    extra = CollectorRegistry()
    extra.register(_Given(more))
    return generate_latest(_processes()) + generate_latest(extra)


def _processes() -> CollectorRegistry:
    if FOLDER not in os.environ:
        return REGISTRY
    shared = CollectorRegistry()
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return shared


class _Given(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics
