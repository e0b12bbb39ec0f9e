"""Secrets that change while a process runs: their files are watched, and new values are used without a restart.

The settings are loaded again as a whole. Only secrets are taken from them; every other change waits for a restart. What
is wrong is logged and shown by `aigen-bridge keys`, and the values before stay in use.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import structlog

from aigen_bridge.domain.errors import BridgeError
from aigen_bridge.settings import Settings, WrongSettingsError, secrets_directory
from aigen_bridge.settings.remarks import ENV_FILE
from aigen_bridge.settings.replace import with_new_secrets

EVERY = 3.0
"""Seconds between looks at the files."""
SETTLED = 1.0
"""Seconds for which the files must not have changed before they are read, because a value may be half written."""
UNSETTLED_MAX = 10
"""Waits for files that change again and again. Then they are read all the same."""
RETRY_FIRST, RETRY_MAX = 65.0, 900.0
"""Seconds before a secret that was refused is tried again, at first and at most; at once if the files change. As for
calls to Odoo (`LoginPause`): modules of Odoo lock out an address from which logins fail more often."""

log = structlog.get_logger(__name__)

Fingerprints = Mapping[str, str]
"""The name of each secret -> the SHA-256 of its value."""


@dataclass(frozen=True, slots=True)
class Part:
    """A user of secrets, such as the client of another system.

    `use` begins to use those of the settings. If it cannot, it raises `BridgeError`, OSError or ValueError, and goes on
    with the ones before. Both may be called again after an error.
    """

    fingerprints: Callable[[Settings], Fingerprints]
    use: Callable[[Settings], Awaitable[None]]


async def read_from_settings(_settings: Settings) -> None:
    """The `use` of a part that reads its secrets from the rotation's settings each time."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A secret in use: its SHA-256, and since when this process has used it."""

    fingerprint: str
    since: datetime


@dataclass(slots=True)
class State:
    """The secrets in use. `problems` lists refused values, `waiting` the settings that wait for a restart."""

    secrets: dict[str, Loaded] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)


class Rotation:
    """The settings of a running process, with its current secrets. Without `load` they never change."""

    def __init__(self, settings: Settings, load: Callable[[], Settings] | None = None) -> None:
        self.settings = settings
        self.state = State()
        self._load = load
        self._parts: list[tuple[Part, dict[str, str]]] = []
        self._wrong: list[str] = []
        self._seen: object = None  # the first look reads the files, which may have changed since they were loaded
        self._lock = asyncio.Lock()
        self._retry_after, self._retry_at = RETRY_FIRST, 0.0

    def add(self, part: Part) -> None:
        """Adds a part, which uses the secrets of the current settings already."""
        known = dict(part.fingerprints(self.settings))
        self._parts.append((part, known))
        self._record(known)

    async def watch(self, on_change: Callable[[State], None] = lambda _: None) -> None:
        """Looks at the files every few seconds, until cancelled. Calls `on_change` now and after every look."""
        while True:
            try:
                on_change(self.state)
            except OSError as error:  # such as a full disk
                log.warning("secrets.not_reported", reason=str(error))
            await asyncio.sleep(EVERY)
            await self._look()

    async def check(self) -> None:
        """Looks at the files now if they have changed since the last look. Otherwise it costs next to nothing."""
        if self._load is not None and self._seen != _signature(self.settings):
            await asyncio.shield(self._look())  # a caller who is cancelled must not end it halfway

    async def _look(self) -> None:
        if self._load is None:
            return
        try:
            async with self._lock:
                await self._look_at_files(self._load)
        except Exception:  # a bug must stop neither the watching nor a call
            log.exception("secrets.bug")

    async def _look_at_files(self, load: Callable[[], Settings]) -> None:
        if (seen := await self._settled()) != self._seen:
            self._retry_after, self._retry_at = RETRY_FIRST, 0.0
            try:
                await self._read(load)
                await self._use()
            finally:  # not before: meanwhile, `check` waits
                self._seen = seen
        elif self._is_retry_due():
            await self._use()

    def _is_retry_due(self) -> bool:
        return 0.0 < self._retry_at <= asyncio.get_running_loop().time()

    async def _settled(self) -> object:
        """Returns the signature of the files once it has stayed the same for a while."""
        seen = _signature(self.settings)
        for _ in range(UNSETTLED_MAX):
            if seen == self._seen:
                break
            before = seen
            await asyncio.sleep(SETTLED)
            if (seen := _signature(self.settings)) == before:
                break
        return seen

    async def _read(self, load: Callable[[], Settings]) -> None:
        try:
            loaded = await asyncio.to_thread(load)
            self.settings, self.state.waiting = with_new_secrets(self.settings, loaded)
        except WrongSettingsError as error:
            self._wrong = error.lines
        except OSError as error:
            self._wrong = [f"A secret file cannot be read: {error}."]
        else:
            self._wrong = []
        for line in self._wrong:
            log.error("secrets.refused", detail=line, action="the values before stay in use; correct the file")
        if self.state.waiting:
            log.warning("settings.restart_needed", settings=self.state.waiting)

    async def _use(self) -> None:
        """Has every part use its new secrets. Repeats those that refuse, with growing pauses."""
        refused = [why for why in await asyncio.gather(*(self._renew(*each) for each in self._parts)) if why]
        self.state.problems = [*self._wrong, *refused]
        self._retry_at = 0.0
        if refused:
            self._retry_at = asyncio.get_running_loop().time() + self._retry_after
            self._retry_after = min(self._retry_after * 2, RETRY_MAX)

    async def _renew(self, part: Part, known: dict[str, str]) -> str | None:
        """Returns why the part refused its secrets, or None if it uses them."""
        settings, changed = self.settings, []
        try:
            new = dict(part.fingerprints(settings))
            changed = sorted(name for name in known.keys() | new.keys() if known.get(name) != new.get(name))
            if changed:
                await part.use(settings)
        except (BridgeError, OSError, ValueError) as error:
            detail = error.detail if isinstance(error, BridgeError) else str(error)
            action = "the values before stay in use; correct the file"
            log.error("secrets.refused", detail=detail, secrets=changed, action=action)  # noqa: TRY400
            return f"{detail} ({', '.join(changed)})" if changed else detail
        if changed:
            log.info("secrets.rotated", secrets=changed)
            self._replace(known, new)
        return None

    def _replace(self, known: dict[str, str], new: Fingerprints) -> None:
        for name in known.keys() - new.keys():
            self.state.secrets.pop(name, None)
        self._record({name: value for name, value in new.items() if known.get(name) != value})
        known.clear()
        known.update(new)

    def _record(self, fingerprints: Fingerprints) -> None:
        now = datetime.now(UTC)
        self.state.secrets |= {name: Loaded(value, now) for name, value in fingerprints.items()}


def _signature(settings: Settings) -> object:
    """Returns a value that changes when one of the files does, also if it is replaced or a symbolic link is moved."""
    return [_stat(path) for path in _files(settings)]


def _files(settings: Settings) -> Iterator[Path]:
    folder = secrets_directory()
    yield from (ENV_FILE, folder)
    for each in (folder, *map(Path, filter(None, os.environ.get("SSL_CERT_DIR", "").strip().split(os.pathsep)))):
        try:
            yield from sorted(entry for entry in each.iterdir() if not entry.name.startswith("."))
        except OSError:  # it is missing or cannot be read, which loading the settings reports
            continue
    yield from filter(None, (settings.tls.certificate, settings.tls.key, settings.tls.client_ca))
    if bundle := os.environ.get("SSL_CERT_FILE", "").strip():
        yield Path(bundle)


def _stat(path: Path) -> tuple[str, tuple[int, ...] | None]:
    try:
        found = path.stat()
    except OSError:
        return str(path), None
    return str(path), (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
