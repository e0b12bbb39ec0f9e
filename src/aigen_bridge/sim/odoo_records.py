"""The simulated addon's records. Each version of a result is applied once; calls are counted."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

from aigen_bridge.sim.odoo_ledger import Entry, Ledger
from aigen_bridge.sim.odoo_payload import MAX_BYTES, Result, checked
from aigen_bridge.sim.odoo_rpc import user_error

FIRST_ATTACHMENT = 1001
UNDERWAY = frozenset({"queued", "dispatched", "received"})


@dataclass(frozen=True, kw_only=True)
class Record:
    """One `aigen.image.request`."""

    request_id: str
    record_id: int
    status: str = "draft"
    version: int = 0
    """The last applied version; 0: none."""
    versions: tuple[int, ...] = ()
    """Every applied version, in order."""
    error_code: str | None = None
    error_message: str | None = None
    image: dict[str, Any] | None = None
    """`format`, `size`, `width`, `height`, `sha256` of the attachment."""
    original_sha256: str | None = None
    """The hash of the image before the bridge marked it, in hex."""
    is_marked: bool = False
    """The bridge marked the image."""
    attachment_id: int | Literal[False] = False

    @property
    def applied(self) -> int:
        """Number of results that took effect."""
        return len(self.versions)

    @property
    def sha256(self) -> str | None:
        """SHA-256 of the attachment, in hex."""
        return None if self.image is None else str(self.image["sha256"])


class Records:
    """The records by requestId, and the ledger of their effects."""

    def __init__(self, *, create_missing: bool, folder: Path | None, max_image_bytes: int = MAX_BYTES) -> None:
        self._create_missing = create_missing
        self._max_image_bytes = max_image_bytes
        self._ledger = Ledger(folder)
        self._records: dict[str, Record] = {}
        self._attachment_ids = count(FIRST_ATTACHMENT)
        self.calls: Counter[str] = Counter()
        """Calls of `bridge_apply_result` since the start by requestId, with or without effect."""
        for entry in self._ledger.entries:
            self._apply_entry(entry)

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(list(self._records.values()))

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._records

    def __getitem__(self, request_id: str) -> Record:
        return self._records[request_id]

    def get(self, request_id: str) -> Record | None:
        """Returns a record, or None."""
        return self._records.get(request_id)

    def image(self, request_id: str) -> bytes | None:
        """Returns the attachment's bytes, or None."""
        record = self.get(request_id)
        return self._ledger.image(record.sha256) if record and record.sha256 else None

    def create(self, request_id: str) -> Record:
        """Creates a record, as a person does before the bridge knows the request. Returns an existing one unchanged."""
        if request_id not in self._records:
            self._write({"requestId": request_id, "recordId": len(self) + 1, "version": 0, "status": "draft"})
        return self._records[request_id]

    def apply(self, payload: Any) -> dict[str, Any]:
        """Does what `bridge_apply_result` does.

        Raises RpcFault: ValidationError for a bad payload, UserError for an unknown requestId.
        """
        result = checked(payload, self._max_image_bytes)
        record = self.get(result.request_id)
        self.calls[result.request_id] += 1
        if record is None and not self._create_missing:
            raise user_error(f"There is no image request {result.request_id}.")
        fresh = record is None or (result.version > record.version and not _is_refused(record, result))
        if fresh:
            self._write(self._entry(result, record), result.content)
        return _answer(self._records[result.request_id], applied=fresh)

    def as_json(self, request_id: str) -> dict[str, Any]:
        """Returns a record as a JSON object. Raises KeyError for an unknown one."""
        record = self._records[request_id]
        more = {"applied": record.applied, "calls": self.calls[request_id], "sha256": record.sha256}
        return {_camel(name): value for name, value in asdict(record).items()} | more

    def _entry(self, result: Result, record: Record | None) -> Entry:
        return {
            "requestId": result.request_id,
            "recordId": record.record_id if record else len(self) + 1,
            "version": result.version,
            "status": result.status,
            "errorCode": result.error_code,
            "errorMessage": result.error_message,
            "image": result.image,
            "originalSha256": result.original_sha256,
            "isMarked": result.is_marked,
        }

    def _write(self, entry: Entry, image: bytes | None = None) -> None:
        self._ledger.append(entry, image)
        self._apply_entry(entry)

    def _apply_entry(self, entry: Entry) -> None:
        """Applies an entry of the ledger, when it is written or after a restart."""
        name, version = entry["requestId"], entry["version"]
        record = self._records.get(name) or Record(request_id=name, record_id=entry["recordId"])
        if version:
            image = entry["image"]
            is_new = image is not None and record.image is None
            record = replace(
                record,
                status=entry["status"],
                version=version,
                versions=(*record.versions, version),
                error_code=entry["errorCode"],
                error_message=entry["errorMessage"],
                image=image or record.image,
                original_sha256=entry.get("originalSha256") or record.original_sha256,
                is_marked=entry.get("isMarked", record.is_marked),
                attachment_id=next(self._attachment_ids) if is_new else record.attachment_id,
            )
        self._records[name] = record


def _is_refused(record: Record, result: Result) -> bool:
    """Returns whether only a bridge restored from a backup would say this, because it does not know the end."""
    if record.status == "completed":
        is_same = result.image == record.image or _is_marked_later(record, result)
        return result.status != "completed" or not is_same
    return record.status == "cancelled" and result.status in UNDERWAY


def _is_marked_later(record: Record, result: Result) -> bool:
    """Returns whether the image replaces the attachment's bytes: it is the same one, and loses no mark."""
    original = record.original_sha256 or record.sha256
    is_same = original is not None and result.original_sha256 == original
    return is_same and (result.is_marked or not record.is_marked)


def _answer(record: Record, *, applied: bool) -> dict[str, Any]:
    return {
        "applied": applied,
        "recordId": record.record_id,
        "attachmentId": record.attachment_id,
        "version": record.version,
        "status": record.status,
        "errorCode": record.error_code or False,
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
