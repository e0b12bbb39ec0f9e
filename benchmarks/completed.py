"""Figure 3: completed callbacks with a PNG of 1 MB, in both versions, against a hand-written handler.

Version 1 also with the images in a folder, and in an S3 server on this machine, instead of in PostgreSQL.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from benchmarks.figure import Check, Figure
from benchmarks.ground import Ground
from benchmarks.pictures import BOUNDARY, completed, completed_beside, noise
from benchmarks.sender import Sender, cpu_facts
from benchmarks.turns import in_turns, medians, rate_ratio
from benchmarks.wrk import Call
from s3_server import S3Server, serving

V1, V2 = (f"/api/{version}/influencegen/ai-image-callback" for version in ("v1", "v2"))
FORM = f"multipart/form-data; boundary={BOUNDARY}"
CALLERS, P99_MAX_MS = 32, 1000
IDS_PER_SECOND = 600
S3_TIMEOUT = {"timeout": "30s"}
"""For one image: nothing may go to PostgreSQL because server and sender share the machine."""


async def measure(ground: Ground) -> Figure:
    """Measures callbacks per second, their p99 and their CPU time.

    The runs without a database show the difference between the two versions.
    """
    (folder := ground.folder / "images").mkdir()
    picture = noise(1)
    v1, v2 = completed(picture), completed_beside(picture)
    async with (
        _s3(ground) as server,
        ground.database() as database,
        ground.api(database) as bridge,
        ground.ceiling("handwritten:app", database=database) as by_hand,
        ground.ceiling("same_service:create") as same,
        ground.database() as folders_database,
        ground.api(folders_database, image_store={"url": f"file://{folder}"}) as in_folder,
        ground.database() as s3_database,
        ground.api(s3_database, image_store=server.settings["image_store"] | S3_TIMEOUT) as in_s3,
    ):
        sender = partial(Sender, ground, callers=CALLERS, ids_per_second=IDS_PER_SECOND)
        senders = {
            "v1": sender(bridge, Call(bridge.url + V1, v1), database=database),
            "v2": sender(bridge, Call(bridge.url + V2, v2, FORM), database=database),
            "v1 by hand": sender(by_hand, Call(by_hand.url + V1, v1), database=database),
            "v2 by hand": sender(by_hand, Call(by_hand.url + V2, v2, FORM), database=database),
            "v1 in a folder": sender(in_folder, Call(in_folder.url + V1, v1), database=folders_database),
            "v1 in S3": sender(in_s3, Call(in_s3.url + V1, v1), database=s3_database, beside={"S3 server": server.pid}),
            "v1 without a database": sender(same, Call(same.url + V1, v1)),
            "v2 without a database": sender(same, Call(same.url + V2, v2, FORM)),
        }
        found = await in_turns(ground.repetitions, senders)
    facts = medians(found) | cpu_facts(senders)
    facts["by hand, v2 / v1"] = rate_ratio(found["v2 by hand"], found["v1 by hand"])
    checks = [
        Check("completed callback v1 / by hand", rate_ratio(found["v1"], found["v1 by hand"]), least=0.8),
        Check("completed callback v2 / v1", rate_ratio(found["v2"], found["v1"]), least=1.3),
        *(
            Check(
                f"completed callback v1, image {place} / in PostgreSQL",
                rate_ratio(found[f"v1 {place}"], found["v1"]),
                0.8,
            )
            for place in ("in a folder", "in S3")
        ),
        *(Check(f"p99 {side}", facts[f"{side}, p99 ms"], most=P99_MAX_MS, unit="ms") for side in ("v1", "v2")),
    ]
    return Figure(3, "completed", "Completed callback, PNG of 1 MB, 32 callers, 1 process", checks, facts)


@asynccontextmanager
async def _s3(ground: Ground) -> AsyncIterator[S3Server]:
    """Runs an S3 server."""
    with serving(ground.folder / "s3") as server:
        yield server
