"""One engine and one deployment for all cases, in the order in which they stand (`make e2e-compose`)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from compose.debian import CannotRunError
from compose.engine import Engine, engine
from compose.images import named, provide
from compose.project import Project, clone

NAME = "aigen-e2e"
NEEDED = ("python", "postgres")
_stand_ins: set[str] = set()
_rows: list[tuple[str, str, float]] = []


@dataclass
class Images:
    """Makes images available once, when a case needs them."""

    engine: Engine
    missing: dict[str, str | None] = field(default_factory=dict)

    def need(self, *names: str) -> None:
        """Skips the case unless all of these images are to be had."""
        for name in names:
            if name not in self.missing:
                self.missing[name] = provide(self.engine, name)
                if self.engine.own and not self.missing[name]:
                    _stand_ins.add(name)
            if reason := self.missing[name]:
                pytest.skip(reason)


@pytest.fixture(scope="session")
def docker() -> Iterator[Engine]:
    """The engine."""
    try:
        with engine() as found:
            yield found
    except CannotRunError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def images(docker: Engine) -> Images:
    """The images, with those that every case needs."""
    found = Images(docker)
    found.need(*NEEDED)
    return found


@pytest.fixture(scope="session")
def project(docker: Engine, images: Images) -> Iterator[Project]:
    """A clone in which nothing has been done. All of its containers, networks and volumes are removed at the end."""
    made = clone(docker, NAME)
    try:
        yield made
    finally:
        made.remove()


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keeps a row of the table."""
    if "compose/" in report.nodeid and (report.when == "call" or report.outcome != "passed"):
        name = report.nodeid.rpartition("::test_")[2].replace("_", " ")
        _rows.append((name, report.outcome, report.duration))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table."""
    if not _rows:
        return
    terminalreporter.section("docker-compose.yml, as docs/deployment.md says")
    width = max(len(name) for name, _, _ in _rows)
    for name, outcome, seconds in _rows:
        terminalreporter.write_line(f"{name:<{width}}  {outcome:<7}  {seconds:6.1f} s")
    if _stand_ins:
        others = sorted(named().keys() - _stand_ins)
        terminalreporter.write_line(f"Ran as stand-ins (images/README.md): {', '.join(sorted(_stand_ins))}.")
        terminalreporter.write_line(f"Images that did not run: {', '.join(others) or 'none'}.")
