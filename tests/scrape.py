"""Reads what Prometheus would read."""

from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Scrape:
    """One answer of `/metrics`."""

    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]

    def value(self, name: str, **labels: str) -> float:
        """The one sample with this name and exactly these labels."""
        return self.samples[name, frozenset(labels.items())]

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples with this name and at least these labels."""
        wanted = frozenset(labels.items())
        return sum(value for (found, has), value in self.samples.items() if found == name and wanted <= has)

    @property
    def names(self) -> set[str]:
        """Every metric that there is."""
        return {name for name, _ in self.samples}


def read(text: str) -> Scrape:
    """Parse the exposition format."""
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return Scrape({(s.name, frozenset(s.labels.items())): s.value for s in samples})


async def scrape(api: httpx.AsyncClient, url: str = "/metrics") -> Scrape:
    """Scrape now."""
    answer = await api.get(url)
    assert answer.status_code == 200, answer.text
    return read(answer.text)
