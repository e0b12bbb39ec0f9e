"""A folder of secrets as Kubernetes mounts it."""

from pathlib import Path


class Folder:
    """A folder of secret files, as Kubernetes mounts it: the names are links through a link that is swapped."""

    def __init__(self, path: Path, **secrets: str) -> None:
        self.path = path
        self._number = 0
        self.secrets = secrets
        self.write()

    def write(self, **secrets: str) -> None:
        """Replaces secrets all at once."""
        self.secrets |= secrets
        self._number += 1
        new = self.path / f"..{self._number}"
        new.mkdir(parents=True)
        for name, value in self.secrets.items():
            (new / name).write_text(value)
        (self.path / "..new").symlink_to(new.name)
        (self.path / "..new").rename(self.path / "..data")
        for name in self.secrets:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")
