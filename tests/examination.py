"""Support for the tests of the doctor: runs an examination and looks up its findings by subject."""

from dataclasses import dataclass, replace
from typing import Any

from aigen_bridge.doctor.examine import examine
from aigen_bridge.doctor.finding import Finding, Mark
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.settings import Settings


@dataclass(frozen=True)
class Examined:
    """The findings of one examination."""

    findings: list[Finding]

    def about(self, name: str) -> list[Finding]:
        """Returns the findings about one subject."""
        return [finding for finding in self.findings if finding.about == name]

    def worst(self, name: str) -> Finding:
        """Returns the most severe finding about a subject."""
        order = [Mark.WRONG, Mark.WARNING, Mark.OK]
        return min(self.about(name), key=lambda finding: order.index(finding.mark))

    def wrong(self) -> set[str]:
        """Returns the subjects with a finding of mark WRONG."""
        return {finding.about for finding in self.findings if finding.mark is Mark.WRONG}

    def text(self) -> str:
        """Returns all findings as text."""
        return "\n".join(
            f"{finding.mark} {finding.about}: {finding.found} {finding.advice}" for finding in self.findings
        )


async def examined(settings: Settings, **changes: Any) -> Examined:
    """Examines a bridge with these settings; `changes` are fields of `Subject`."""
    return Examined(await examine(replace(Subject.of(settings), **changes)))


def with_part(settings: Settings, part: str, **changes: Any) -> Settings:
    """Returns the settings with changes to one section."""
    return settings.model_copy(update={part: getattr(settings, part).model_copy(update=changes)})
