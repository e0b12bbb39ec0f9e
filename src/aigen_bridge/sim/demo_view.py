"""The demo's output on the console."""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aigen_bridge.quoting import one_line
from aigen_bridge.sim.chain import Chain
from aigen_bridge.sim.demo import Proof


class ConsoleView:
    """Prints each step with its duration, then the timeline. The current step has a spinner."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("")
        self._current: str | None = None
        self._since = 0.0

    def step(self, text: str) -> None:
        """Marks the current step as done and begins the next."""
        self._finish()
        self._current, self._since = text, time.monotonic()
        self._status.update(f"{_quoted(text)} …")
        self._status.start()

    def _finish(self) -> None:
        self._status.stop()
        if self._current:
            took = time.monotonic() - self._since
            self._console.print(f"[green]✓[/] {_quoted(self._current)} [dim]{took:.2f} s[/]")
        self._current = None

    def fail(self, reason: str) -> None:
        """Prints the reason for the failure."""
        self._status.stop()
        failed = f"{_quoted(self._current or 'The demo')}: {_quoted(reason)}"
        self._console.print(f"[red]✗[/] {failed}", highlight=False)

    def done(self, proof: Proof) -> None:
        """Prints the timeline and the path of the image."""
        self._finish()
        self._console.print(_timeline(proof))
        if added := proof.added:
            self._console.print(
                f"Added by the bridge: accept answered → webhook received [bold]{added.to_n8n * 1000:.1f} ms[/], "
                f"callback sent → Odoo called [bold]{added.to_odoo * 1000:.1f} ms[/]."
            )
        image = proof.request["image"]
        self._console.print(
            f"Image    {_quoted(str(proof.image))}  ({image['width']}x{image['height']} {image['format']})"
        )
        same = "  (the same in Odoo)" if proof.added else ""
        self._console.print(f"SHA-256  {image['sha256']}{same}", highlight=False)
        if proof.mark:
            self._console.print(f"Mark     {_quoted(proof.mark)}", highlight=False)
        for name, fact in _facts(proof.request):
            self._console.print(f"{name:<8} {_quoted(fact)}", highlight=False)
        self._console.print("[bold green]delivered[/]")

    def keeps_running(self, url: str, chain: Chain, keys: dict[str, str]) -> None:
        """Prints the addresses and the keys."""
        self._console.print(f"\nAPI   {url}   docs {url}/docs, {url}/redoc")
        self._console.print(f"N8N   {chain.n8n_url}/_sim/calls   Odoo {chain.odoo_url}/_sim/records")
        for name, key in keys.items():
            self._console.print(f"Key of {name}: {key}", highlight=False)
        self.is_in_console(url, keys["ops"])
        self._console.print("Stop with Ctrl-C.")

    def is_in_console(self, url: str, key: str) -> None:
        """Prints the address of the console and how to sign in."""
        self._console.print(
            f"\nConsole  {url}/console   sign in with the key of ops: {key}", highlight=False, soft_wrap=True
        )


def _facts(request: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields what is known about how the image was made, by name."""
    made, cost = request["generation"] or {}, request.get("cost")
    if made.get("provider"):
        yield "Made by", " at ".join(filter(None, (made.get("model"), made["provider"])))
    if made.get("jobId"):
        yield "Job", made["jobId"]
    if made.get("seed") is not None:
        yield "Seed", f"{made['seed']} (the same prompt with this seed gives the same image)"
    if made.get("seconds") is not None:
        yield "Took", f"{made['seconds']:.1f} s at the AI service"
    if cost:
        yield "Cost", f"{cost['amount']} {cost['currency']} ({cost['basis']})"


def _timeline(proof: Proof) -> Table:
    table = Table(title=f"Request {proof.request['requestId']}", title_justify="left")
    for column in ("after", "what", "took", "detail"):
        table.add_column(column, justify="right" if column in {"after", "took"} else "left")
    start = datetime.fromisoformat(proof.request["createdAt"])
    for entry in proof.timeline:
        after = (datetime.fromisoformat(entry["at"]) - start).total_seconds()
        if "kind" not in entry:
            table.add_row(f"{after:.3f} s", "generation", "", _quoted(entry["note"]))
        elif entry["kind"] == "state":
            table.add_row(f"{after:.3f} s", f"[bold]{entry['status']}[/]", "", _quoted(entry["note"] or ""))
        else:
            took, detail = f"{entry['durationMs']:.0f} ms", entry["detail"] or entry["outcome"]
            table.add_row(f"{after:.3f} s", f"{entry['step']} #{entry['number']}", took, _quoted(detail))
    return table


def _quoted(text: str) -> str:
    """Returns text from outside as markup that shows it as it is."""
    return escape(one_line(text))
