"""What the tests of the doctor share: an examination, and its lines by what they are about."""

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
        """The lines about one thing."""
        return [finding for finding in self.findings if finding.about == name]

    def worst(self, name: str) -> Finding:
        """The one line about this that is wrong, or a warning if none is."""
        order = [Mark.WRONG, Mark.WARNING, Mark.OK]
        return min(self.about(name), key=lambda finding: order.index(finding.mark))

    def wrong(self) -> set[str]:
        """What something is wrong with."""
        return {finding.about for finding in self.findings if finding.mark is Mark.WRONG}

    def text(self) -> str:
        """Everything that was said."""
        return "\n".join(
            f"{finding.mark} {finding.about}: {finding.found} {finding.advice}" for finding in self.findings
        )


async def examined(settings: Settings, **changes: Any) -> Examined:
    """Examine a bridge with these settings; `changes` as in `Subject`."""
    return Examined(await examine(replace(Subject.of(settings), **changes)))


def with_part(settings: Settings, part: str, **changes: Any) -> Settings:
    """The settings with one of their sections changed."""
    return settings.model_copy(update={part: getattr(settings, part).model_copy(update=changes)})
