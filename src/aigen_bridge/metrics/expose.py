"""Exposes metrics to Prometheus, also when several API processes share one port.

Several processes write to files that each of them can read (prometheus-client's multiprocess mode), so any one of them
can serve a scrape for all. A single process needs no files, and also exposes its memory and open files.
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
"""The environment variable that prometheus-client reads when it is imported."""


@contextmanager
def shared_between_processes() -> Iterator[None]:
    """Processes started in the block share their metrics, in a folder that is created empty and deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="aigen-metrics-") as folder:
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER]


def as_text(more: Iterable[Metric] = ()) -> bytes:
    """Returns the metrics of this process, or of all that share its folder, and `more`, in Prometheus' text format."""
    extra = CollectorRegistry()
    extra.register(_Fixed(more))
    return generate_latest(_processes()) + generate_latest(extra)


def _processes() -> CollectorRegistry:
    if FOLDER not in os.environ:
        return REGISTRY
    shared = CollectorRegistry()
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return shared


class _Fixed(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics
