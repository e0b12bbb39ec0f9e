"""The doctor's findings about the primary and its standbys."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from aigen_bridge.doctor.finding import Mark
from aigen_bridge.doctor.replication import _named_servers, _standbys
from aigen_bridge.store.replication import Replication, Server, Standby, distinct

STANDBY = Standby("h2 at 10.0.0.2", "sync", timedelta(milliseconds=12), 100)
PAIR = Replication("ANY 1 (h2,h3)", "on", "aigen", [STANDBY])
HIDDEN = Standby("", None, None, None)


@pytest.mark.parametrize(
    ("found", "mark", "words"),
    [
        (PAIR, Mark.OK, "Commits wait for a standby. Standbys: h2 at 10.0.0.2 (sync, 12 ms, 100 B behind)."),
        (replace(PAIR, standby_names=""), Mark.WARNING, "asynchronous (synchronous_standby_names is empty)"),
        (replace(PAIR, synchronous_commit="local"), Mark.WARNING, "asynchronous (synchronous_commit is local)"),
        (replace(PAIR, standbys=[]), Mark.WRONG, "no such standby is connected: commits wait. 0 connected."),
        (
            replace(PAIR, standbys=[replace(STANDBY, sync_state="async")]),
            Mark.WRONG,
            "'ANY 1 (h2,h3)', but no such standby is connected: commits wait. Standbys: h2 at 10.0.0.2 (async",
        ),
        (replace(PAIR, standby_names="", standbys=[]), Mark.WARNING, "names several servers, but no standby"),
        (replace(PAIR, standbys=[HIDDEN]), Mark.OK, 'GRANT pg_monitor TO "aigen"'),
        (replace(PAIR, standbys=[replace(STANDBY, lag=timedelta(minutes=3))]), Mark.WARNING, "more than 60 s behind"),
    ],
)
def test_each_state_of_the_replication_has_its_words(found: Replication, mark: Mark, words: str) -> None:
    [finding] = _standbys(found, is_expected=True)
    assert finding.mark is mark
    assert words in finding.found
    assert bool(finding.advice) == (mark is not Mark.OK)


H1, H2, H3 = Server("h1:5432", position=2000), Server("h2:5432", is_standby=True, position=1000), Server("h3:5432")


@pytest.mark.parametrize(
    ("servers", "mark", "words"),
    [
        ([H1, H2], Mark.OK, "Primary: h1:5432. Standbys: h2:5432 (1000 B behind)."),
        ([H1, H2, replace(H3, error="timeout expired")], Mark.WARNING, "h3:5432 cannot be asked: timeout expired"),
        (
            [H2, replace(H3, error="timeout expired")],
            Mark.WRONG,
            "No server accepts writes. Primary: none. Standbys: h2",
        ),
        ([H1, H2, H3], Mark.WRONG, "Several servers accept writes. Primary: h1:5432, h3:5432."),
    ],
)
def test_the_servers_of_the_url_are_named_with_their_roles(servers: list[Server], mark: Mark, words: str) -> None:
    [finding] = _named_servers(servers)
    assert (finding.mark, words in finding.found) == (mark, True), finding.found


START = datetime(2026, 1, 1, tzinfo=UTC)
V4, V6 = replace(H1, host="h1", started=START), replace(H1, name="h1 (::1)", host="h1", started=START, is_ipv6=True)


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        ([V4, V6], [V4]),
        ([replace(V6, error="refused", started=None), V4], [V4]),
        ([V4, replace(V4, error="refused", started=None)], [V4, replace(V4, error="refused", started=None)]),
        (
            [V4, replace(V4, started=START + timedelta(seconds=1))],
            [V4, replace(V4, started=START + timedelta(seconds=1))],
        ),
        ([replace(V4, error="a", started=None), replace(V6, error="b", started=None)], None),
    ],
)
def test_a_server_is_named_once_however_many_addresses_lead_to_it(
    found: list[Server], kept: list[Server] | None
) -> None:
    assert distinct(found) == (kept or found)
