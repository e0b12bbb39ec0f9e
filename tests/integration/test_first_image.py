"""`n8n/first-image.sh`: a trial goes the whole way, and nothing of it waits for an operator afterwards."""

import asyncio
from pathlib import Path

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database
from outages import rows
from stage import KEYS, Stage

SCRIPT = Path(__file__).parents[2] / "n8n" / "first-image.sh"


async def test_the_first_image_leaves_neither_a_dead_letter_nor_an_alert(
    stage: Stage, database: Database, tmp_path: Path
) -> None:
    unknown = Fault(kind=FaultKind.ODOO_ERROR, name="odoo.exceptions.UserError", detail="no such record", times=None)
    stage.chain.odoo.faults.add(unknown)
    (tmp_path / "key").write_text(KEYS["odoo"])
    process = await asyncio.create_subprocess_exec(
        SCRIPT, str(stage.api.base_url).rstrip("/"), tmp_path / "key", cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        said, _ = await process.communicate()
        while not (ended := await rows(database, "SELECT status FROM requests WHERE delivered_at IS NOT NULL")):
            await asyncio.sleep(0.02)

    assert (process.returncode, b"The image is in ./first-image" in said) == (0, True), said
    assert (tmp_path / "first-image").read_bytes().startswith(b"\x89PNG")
    assert ended == [("completed",)]
    assert await rows(database, "SELECT state FROM outbox WHERE state = 'dead'") == []
    assert await rows(database, "SELECT cause FROM incidents") == []
    assert stage.chain.odoo.calls.to("jsonrpc") == []
