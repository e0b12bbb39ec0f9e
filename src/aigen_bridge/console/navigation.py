"""The pages in the menu, in order."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A page in the menu. `key` is pressed after `g` to go there."""

    path: str
    label: str
    key: str

    def is_at(self, path: str) -> bool:
        """Returns whether the page at this path belongs to the entry."""
        return path == self.path or (self.path != "/console" and path.startswith(f"{self.path}/"))


@dataclass(frozen=True, slots=True)
class Group:
    """Pages under one heading."""

    label: str
    entries: tuple[Entry, ...]


NAVIGATION = (
    Group(
        "Now",
        (
            Entry("/console", "Overview", "o"),
            Entry("/console/requests", "Requests", "r"),
            Entry("/console/dead-letters", "Dead letters", "d"),
            Entry("/console/replays", "Replays", "p"),
            Entry("/console/destinations", "Destinations", "t"),
        ),
    ),
    Group(
        "Money",
        (
            Entry("/console/models", "Models", "m"),
            Entry("/console/budgets", "Budgets", "b"),
            Entry("/console/usage", "Usage", "u"),
        ),
    ),
    Group(
        "Access",
        (
            Entry("/console/operations", "Who did what", "w"),
            Entry("/console/keys", "Keys", "k"),
        ),
    ),
)
