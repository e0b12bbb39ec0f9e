"""`aigen-bridge usage`: what was spent and reserved."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer

from aigen_bridge.cli.operate import operating
from aigen_bridge.cli.terminal import say, say_json, say_table
from aigen_bridge.contracts.usage import TIMES, UsageItem, UsageReport, usage_filter
from aigen_bridge.domain.usage import GroupBy

app = typer.Typer()


@app.command()
def usage(
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help=f"Accepted at or after: {TIMES}.")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Accepted before.")] = None,
    group_by: Annotated[GroupBy | None, typer.Option("--group-by", help="One line for each.")] = None,
    odoo: Annotated[str | None, typer.Option(help="Only requests of this Odoo, such as default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Show what was spent and reserved by requests that were accepted in a period, by default the current month.

    A date begins at midnight in AIGEN_MONEY__TIME_ZONE. Amounts of different currencies are never added.
    """
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")

    async def run() -> None:
        async with operating() as parts:
            zone = parts.settings.money.time_zone
            wanted = usage_filter(since, until, group_by, odoo, now=datetime.now(UTC), time_zone=zone)
            report = UsageReport.of(wanted, await parts.ledger.usage(wanted))
        if as_json:
            say_json(report)
        elif as_csv:
            say(report.csv().replace("\r\n", "\n").rstrip("\n"))
        else:
            _print(report)

    asyncio.run(run())


def _print(report: UsageReport) -> None:
    say(f"Requests accepted from {report.since:%Y-%m-%d %H:%M} to {report.until:%Y-%m-%d %H:%M} (UTC)")
    if not report.items:
        say("There are none in the ledger.")
        return
    name = report.group_by.value if report.group_by else "all"
    say_table((name, "currency", "spent", "estimated", "reserved", "images", "failures"), map(_row, report.items))


def _row(item: UsageItem) -> tuple[str, ...]:
    amounts = item.spent, item.estimated, item.reserved
    return item.key or "-", item.currency or "-", *amounts, str(item.images), str(item.failures)
