"""What the tests of Odoo share: the payload of a result, and the real odoorpc client."""

import asyncio
import hashlib

import odoorpc
import pybase64

from aigen_bridge.sim.drawing import draw

KEY = "key-of-the-bot-user"
UUID = "0d3f1b9c-1c1f-4a6e-9d3c-6a0f5b1c2d3e"
MODEL, METHOD = "aigen.image.request", "bridge_apply_result"
PICTURE = draw("A lighthouse", seed=1, width=64, height=48)


def result(request_id="r-1", version=1, status="completed", **image_changes):
    payload = {"requestId": request_id, "version": version, "status": status}
    if status != "completed":
        return payload | {"errorCode": "nsfw", "errorMessage": "No"}
    image = {
        "data": pybase64.b64encode(PICTURE).decode(),
        "format": "png",
        "size": len(PICTURE),
        "width": 64,
        "height": 48,
        "sha256": hashlib.sha256(PICTURE).hexdigest(),
    }
    return payload | {"image": image | image_changes}


class Client:
    """The real odoorpc client, in a thread because it blocks."""

    def __init__(self, url):
        self.port = int(url.rsplit(":", 1)[1])
        self.odoo = None

    async def connect(self, version="18.0"):
        self.odoo = await asyncio.to_thread(odoorpc.ODOO, "127.0.0.1", port=self.port, version=version, timeout=10)
        return self

    async def login(self, database="odoo", login="aigen-bridge", key=KEY):
        await asyncio.to_thread(self.odoo.login, database, login, key)
        return self

    async def execute(self, *call):
        return await asyncio.to_thread(self.odoo.execute_kw, *call)

    async def apply(self, payload):
        return await self.execute(MODEL, METHOD, [payload])


def name_of(caught):
    return caught.value.info["data"]["name"]


async def rpc(http, url, service, method, *args):
    params = {"service": service, "method": method, "args": list(args)}
    answer = await http.post(f"{url}/jsonrpc", json={"jsonrpc": "2.0", "method": "call", "params": params, "id": 9})
    assert (answer.status_code, answer.json()["id"]) == (200, 9)
    return answer
