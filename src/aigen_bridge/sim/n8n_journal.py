"""A journal of executions, from which a killed N8N finds the dead ones at its next start."""

from pathlib import Path


class Journal:
    """The executions that began and ended. Stored in the file `path`; without one, in memory."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lines: list[str] = path.read_text().splitlines() if path and path.exists() else []

    def begin(self, execution_id: str) -> None:
        """Records that an execution begins."""
        self._add(f"begin {execution_id}")

    def end(self, execution_id: str) -> None:
        """Records that an execution has ended, successfully or not."""
        self._add(f"end {execution_id}")

    def unfinished(self) -> list[str]:
        """Returns the executions that died, oldest first. As in the real N8N, every start finds the same ones again."""
        ended = {line.removeprefix("end ") for line in self._lines if line.startswith("end ")}
        begun = [line.removeprefix("begin ") for line in self._lines if line.startswith("begin ")]
        return [execution_id for execution_id in begun if execution_id not in ended]

    def _add(self, line: str) -> None:
        self._lines.append(line)
        if self._path:
            with self._path.open("a") as file:  # one write: a line is written completely or not at all
                file.write(f"{line}\n")
