"""A request's own part of the ledger, in its resource."""

from uuid import UUID

from outages import write
from stage import KEYS, REQUESTS, make_event, make_settings, serve_api

ENTRY = """
    INSERT INTO ledger (request_id, odoo, accepted_at, kind, charge, spent, currency, basis)
    VALUES (:request_id, 'default', now(), :kind, :charge, CAST(:spent AS numeric), :currency, :basis)
"""
CHARGES = [
    ("charge", "job:fal/1", "0.035", "USD", "estimated"),
    ("correction", "job:fal/1", "-0.035", "USD", "estimated"),
    ("correction", "job:fal/1", "0.04", "USD", "billed"),
    ("charge", "job:fal/2", "0.000000001", "USD", "billed"),
    ("charge", "job:fal/3", "1.5", "EUR", "estimated"),
]
BOOKED = [
    {"amount": "1.50", "currency": "EUR", "basis": "estimated"},
    {"amount": "0.040000001", "currency": "USD", "basis": "billed"},
]


async def test_a_request_tells_what_the_ledger_has_booked_for_it_by_currency(database_url, database):
    async with serve_api(make_settings(database_url)) as api:
        api.headers["X-API-Key"] = KEYS["odoo"]
        paid, free = make_event(), make_event()
        for event in (paid, free):
            assert (await api.post(REQUESTS, json=event)).json()["charged"] == []
        for kind, charge, spent, currency, basis in CHARGES:
            entry = {"kind": kind, "charge": charge, "spent": spent, "currency": currency, "basis": basis}
            await write(database, ENTRY, request_id=UUID(paid["requestId"]), **entry)
        one = await api.get(f"{REQUESTS}/{paid['requestId']}")
        many = await api.get(REQUESTS, params={"ids": f"{paid['requestId']},{free['requestId']}"})
    told = {item["requestId"]: item["charged"] for item in many.json()["items"]}
    assert one.json()["charged"] == BOOKED
    assert told == {paid["requestId"]: BOOKED, free["requestId"]: []}
