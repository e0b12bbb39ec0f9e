"""Which executions have begun and not ended: what a killed N8N finds dead at its next start."""

from pathlib import Path


class Journal:
    """Kept in the file `path`, so that it survives the process; without one, as long as the simulator does."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lines: list[str] = path.read_text().splitlines() if path and path.exists() else []

    def begin(self, execution_id: str) -> None:
        """An execution begins."""
        self._add(f"begin {execution_id}")

    def end(self, execution_id: str) -> None:
        """An execution has ended, with or without success."""
        self._add(f"end {execution_id}")

    def unfinished(self) -> list[str]:
        """Those that died, oldest first. As with the real N8N, each start finds the same ones again."""
        ended = {line.removeprefix("end ") for line in self._lines if line.startswith("end ")}
        begun = [line.removeprefix("begin ") for line in self._lines if line.startswith("begin ")]
        return [execution_id for execution_id in begun if execution_id not in ended]

    def _add(self, line: str) -> None:
        self._lines.append(line)
        if self._path:
            with self._path.open("a") as file:  # one write: a line is there as a whole, or not at all
                file.write(f"{line}\n")
