"""Reads `/metrics` as Prometheus does."""

from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Scrape:
    """The samples of one scrape."""

    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]

    def value(self, name: str, **labels: str) -> float:
        """Returns the sample with this name and exactly these labels."""
        return self.samples[name, frozenset(labels.items())]

    def total(self, name: str, **labels: str) -> float:
        """Returns the sum of the samples with this name and at least these labels."""
        wanted = frozenset(labels.items())
        return sum(value for (found, has), value in self.samples.items() if found == name and wanted <= has)

    @property
    def names(self) -> set[str]:
        """The names of all metrics."""
        return {name for name, _ in self.samples}


def read(text: str) -> Scrape:
    """Parses the exposition format."""
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return Scrape({(s.name, frozenset(s.labels.items())): s.value for s in samples})


async def scrape(api: httpx.AsyncClient, url: str = "/metrics") -> Scrape:
    """Scrapes the API once."""
    answer = await api.get(url)
    assert answer.status_code == 200, answer.text
    return read(answer.text)
