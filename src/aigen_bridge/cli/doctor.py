"""`aigen-bridge doctor`: reports problems and their remedies."""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aigen_bridge import logs
from aigen_bridge.cli.terminal import say
from aigen_bridge.doctor.finding import Finding, Mark
from aigen_bridge.quoting import one_line

app = typer.Typer()

SIGNS = {Mark.OK: ("✓", "green"), Mark.WARNING: ("!", "yellow"), Mark.WRONG: ("✗", "bold red")}


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Also write, read and delete an object in the image store.")
    ] = False,
) -> None:
    """Check everything the bridge depends on, and report problems and their remedies. Changes nothing.

    With --write, it also tries what the image store permits: it writes a small object there, and deletes it.

    The exit status is 0 when nothing is wrong. There may be warnings.
    """
    from aigen_bridge.doctor.examine import examine
    from aigen_bridge.doctor.subject import Subject

    logs.configure("CRITICAL" if as_json else "ERROR", "auto")
    with Console(stderr=True).status("Checking …"):
        findings = asyncio.run(examine(replace(Subject.here(), may_write=write)))
    if as_json:
        say(json.dumps({"status": _worst(findings), "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        _print(findings)
    _end_process(1 if _worst(findings) is Mark.WRONG else 0)


def _worst(findings: Sequence[Finding]) -> Mark:
    marks = {finding.mark for finding in findings}
    return next(mark for mark in (Mark.WRONG, Mark.WARNING, Mark.OK) if mark in marks or mark is Mark.OK)


def _print(findings: Sequence[Finding]) -> None:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        sign, style = SIGNS[finding.mark]
        cell = Text(one_line(finding.found))
        if finding.advice:
            cell.append(f"\n→ {one_line(finding.advice)}", style="dim")
        table.add_row(Text(sign, style), Text(finding.about, "bold"), cell)
    console = Console()
    console.print(table)
    console.print(_summary(findings))


def _summary(findings: Sequence[Finding]) -> Text:
    worst = _worst(findings)
    count = {mark: sum(finding.mark is mark for finding in findings) for mark in Mark}
    warnings = f"{count[Mark.WARNING]} warning{'' if count[Mark.WARNING] == 1 else 's'}"
    if worst is Mark.WRONG:
        return Text(f"\n{count[Mark.WRONG]} wrong, {warnings}.", SIGNS[worst][1])
    return Text(f"\nNothing is wrong{', ' + warnings if count[Mark.WARNING] else ''}.", SIGNS[worst][1])


def _end_process(status: int) -> None:
    """Ends the process without waiting for a call to Odoo that hangs."""
    sys.stdout.flush()
    if threading.active_count() > 1:
        os._exit(status)
    raise typer.Exit(status)
