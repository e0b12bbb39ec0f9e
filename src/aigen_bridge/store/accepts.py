"""Inserts accepted requests, and reserves what they are estimated to cost.

Usually one statement does everything: it locks the usage of the budgets that count the requests, in the order of their
ids, and inserts the requests if all of them fit. Otherwise one transaction locks the usage, decides about each request
in order of arrival, and inserts what is admitted. What is reserved is the sum over the requests that were really
created. Both hold the shared lock of `aigen_budgets_unchanged` until they end, so no budget changes meanwhile.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.contracts.models import estimated_cost
from aigen_bridge.domain.budget import (
    Budget,
    BudgetIndex,
    Purpose,
    Refusal,
    Reservation,
    Usage,
    Wanted,
    admit,
    claims,
    room,
)
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.domain.money import Money, Rates, rates_from
from aigen_bridge.domain.request import NewRequest
from aigen_bridge.store.budgets import KnownBudgets, load
from aigen_bridge.store.database import Database
from aigen_bridge.store.ledger import PERIOD_START
from aigen_bridge.store.wakeup import CHANNEL

NO_REVISION = -1
"""A process that has not read the budgets yet."""

_GUARD = """
    guard AS MATERIALIZED (
        SELECT CAST(:revision AS bigint) IS NULL OR aigen_budgets_unchanged(CAST(:revision AS bigint)) AS unchanged
    )
"""
"""SQL: whether the caller knows the current budgets. What follows is evaluated after it, and only if it is true."""

_CREATED = """
    created AS (
        INSERT INTO requests (request_id, correlation_id, event, traceparent, client, odoo, model)
        SELECT request_id, correlation_id, CAST(event AS jsonb), traceparent, client, odoo, CAST(model AS jsonb)
        FROM unnest(
            CAST(:request_id AS uuid[]), CAST(:correlation_id AS uuid[]), CAST(:event AS text[]),
            CAST(:traceparent AS text[]), CAST(:client AS text[]), CAST(:odoo AS text[]), CAST(:model AS text[])
        ) AS wanted (request_id, correlation_id, event, traceparent, client, odoo, model)
        WHERE (SELECT is_enough FROM room)
        ON CONFLICT (request_id) DO NOTHING
        RETURNING request_id, created_at
    ), enqueued AS (
        INSERT INTO outbox (request_id, step) SELECT request_id, 'dispatch' FROM created RETURNING request_id, step
    )
"""
_ACCEPTED = f"""
    SELECT is_enough, request_id, created_at FROM room LEFT JOIN (
        SELECT request_id, created_at, pg_notify('{CHANNEL}', step) FROM created JOIN enqueued USING (request_id)
    ) AS accepted ON true
"""  # noqa: S608 - a constant of this package

_ACCEPT_UNPRICED = text(f"""
    WITH {_GUARD}, room AS MATERIALIZED (SELECT unchanged AS is_enough FROM guard), {_CREATED} {_ACCEPTED}
""")  # noqa: S608 - constants of this package
"""For requests without an estimated cost: there is nothing to compare or to book."""

# A missing row of budget_usage (the first request of a period) counts as one that does not fit. `locked` reads each row
# as the last transaction that had it locked left it, and so does the update.
_ACCEPT = text(f"""
    WITH {_GUARD}, locked AS MATERIALIZED (
        SELECT u.budget_id, u.period_start, u.spent + u.reserved AS used
        FROM budget_usage AS u JOIN budgets AS b ON b.id = u.budget_id
        WHERE (SELECT unchanged FROM guard) AND b.id = ANY (CAST(:budget_id AS bigint[]))
            AND u.period_start = {PERIOD_START.format(at="now()")}
        ORDER BY u.budget_id
        FOR NO KEY UPDATE OF u
    ), room AS MATERIALIZED (
        SELECT (SELECT unchanged FROM guard) AND coalesce(
            bool_and(coalesce(amount = 0 OR used + amount <= most, false)), true
        ) AS is_enough
        FROM unnest(CAST(:budget_id AS bigint[]), CAST(:amount AS numeric[]), CAST(:most AS numeric[]))
            AS wanted (budget_id, amount, most)
        LEFT JOIN locked USING (budget_id)
    ), {_CREATED}, recorded AS (
        INSERT INTO ledger (
            request_id, odoo, user_id, campaign_id, model_id, accepted_at, kind, reserved, currency, rates
        )
        SELECT request_id, odoo, user_id, campaign_id, model_id, created_at, 'reserve', estimate, currency,
            CAST(rates AS jsonb)
        FROM unnest(
            CAST(:priced AS uuid[]), CAST(:priced_odoo AS text[]), CAST(:priced_user AS uuid[]),
            CAST(:priced_campaign AS uuid[]), CAST(:priced_model AS uuid[]), CAST(:estimate AS numeric[]),
            CAST(:currency AS text[]), CAST(:rates AS text[])
        ) AS priced (request_id, odoo, user_id, campaign_id, model_id, estimate, currency, rates)
        JOIN created USING (request_id)
    ), counted AS (
        UPDATE budget_usage AS u SET reserved = u.reserved + reserved.amount
        FROM locked JOIN (
            SELECT budget_id, sum(amount) AS amount
            FROM unnest(CAST(:reserving AS uuid[]), CAST(:reserved_of AS bigint[]), CAST(:reserved AS numeric[]))
                AS one (request_id, budget_id, amount)
            JOIN created USING (request_id)
            GROUP BY budget_id
        ) AS reserved USING (budget_id)
        WHERE u.budget_id = locked.budget_id AND u.period_start = locked.period_start
    )
    {_ACCEPTED}
""")  # noqa: S608 - constants of this package

_LOCK_USAGE = text(f"""
    WITH {_GUARD}, locked AS (
        INSERT INTO budget_usage AS u (budget_id, period_start)
        SELECT b.id, {PERIOD_START.format(at="now()")} FROM budgets AS b
        WHERE b.id = ANY (CAST(:budget_id AS bigint[])) AND (SELECT unchanged FROM guard)
        ORDER BY b.id
        ON CONFLICT (budget_id, period_start) DO UPDATE SET reserved = u.reserved
        RETURNING budget_id, period_start, spent, reserved
    )
    SELECT unchanged, budget_id, period_start, spent, reserved FROM guard LEFT JOIN locked ON true
""")  # noqa: S608 - constants of this package
"""The conflict returns the row as the last transaction that had it locked left it."""

_KNOWN = text("SELECT request_id FROM requests WHERE request_id = ANY (CAST(:request_id AS uuid[]))")
"""A statement of its own, after the lock: it sees what was accepted while the lock was waited for."""


@dataclass(frozen=True, slots=True)
class Created:
    """When each new request was created, and why others were refused. A request in neither was known before."""

    at: Mapping[UUID, datetime]
    refusals: Mapping[UUID, Refusal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Booking:
    """What is written beside new requests, for those of them that are really created.

    `revision` is that of the budgets by which they are counted; None for a request that no budget counts. `rates` are
    by the currency of an estimate, as the ledger records them. `most` is by budget.
    """

    revision: int | None = None
    priced: Sequence[tuple[Wanted, Money]] = ()
    rates: Mapping[str, str] = field(default_factory=dict)
    reservations: Sequence[Reservation] = ()
    most: Mapping[int, Decimal] = field(default_factory=dict)


class Accepts:
    """Inserts requests within the budgets, which one process knows until the guard says that they have changed."""

    def __init__(self, database: Database, rates: Rates) -> None:
        self._database = database
        self._rates = rates
        self._budgets = KnownBudgets(NO_REVISION, BudgetIndex())

    async def create(self, new: Sequence[NewRequest]) -> Created:
        """Inserts those of these requests that are new and admitted, in one commit. Each id occurs once."""
        wanted = [_wanted(each) for each in new]
        claimed = claims(wanted, self._budgets.index, self._rates)
        if claimed is not None:
            booking = self._booking(wanted, claimed)  # by the budgets of the claims: another call may load newer ones
            async with self._database.writing() as connection:
                created = await insert_requests(connection, new, booking)
            if created is not None:
                return Created(created)
        async with self._database.transaction(prepared=True) as connection:
            return await self._create_admitted(connection, new, wanted)

    async def _create_admitted(
        self, connection: AsyncConnection, new: Sequence[NewRequest], wanted: Sequence[Wanted]
    ) -> Created:
        usage = await self._lock(connection, wanted)
        if usage is None:  # the shared lock is held by now: what is read here stays true
            self._budgets = await load(connection)
            usage = await self._lock(connection, wanted)
        if usage is None:
            raise StoreUnavailableError("The table budget_changes has lost its row: run 'aigen-bridge doctor'.")
        known = set(await connection.scalars(_KNOWN, {"request_id": [each.request_id for each in wanted]}))
        unknown = [each for each in wanted if each.request_id not in known]
        admission = admit(unknown, self._budgets.index, usage, self._rates)
        admitted = [each for each in new if each.request_id in admission.reservations]
        if not admitted:
            return Created({}, admission.refusals)
        reservations = [one for each in admission.reservations.values() for one in each]
        created = await insert_requests(connection, admitted, self._booking(wanted, reservations))
        return Created(created or {}, admission.refusals)

    def _booking(self, wanted: Sequence[Wanted], reservations: Sequence[Reservation]) -> Booking:
        priced = [(each, each.estimate) for each in wanted if each.estimate is not None]
        rates = {money.currency: json.dumps(rates_from(self._rates, money.currency)) for _, money in priced}
        most = {one.budget_id: room(self._budgets.index[one.budget_id]) for one in reservations}
        return Booking(self._budgets.revision, priced, rates, reservations, most)

    async def _lock(self, connection: AsyncConnection, wanted: Sequence[Wanted]) -> dict[int, Usage] | None:
        """Locks the usage of the budgets that count these requests, and returns it as it stays until the commit.

        Returns None if the budgets have changed.
        """
        parameters = {
            "revision": self._budgets.revision,
            "budget_id": sorted({budget.id for each in wanted for budget in self._counting(each)}),
        }
        rows = (await connection.execute(_LOCK_USAGE, parameters)).all()
        if not rows[0].unchanged:
            return None
        return {
            row.budget_id: Usage(period_start=row.period_start, spent=row.spent, reserved=row.reserved)
            for row in rows
            if row.budget_id is not None
        }

    def _counting(self, each: Wanted) -> Sequence[Budget]:
        return self._budgets.index.counting(each.purpose) if each.estimate else ()


async def insert_requests(
    connection: AsyncConnection, wanted: Sequence[NewRequest], booking: Booking
) -> dict[UUID, datetime] | None:
    """Inserts the new ones of these requests, each with its `dispatch` entry. Returns when each was created.

    Returns None if the budgets have changed, or cannot take all of them; then nothing is inserted.
    """
    ordered = sorted(wanted, key=lambda new: new.request_id)  # the same lock order in all processes
    columns = {"revision": booking.revision, **_columns(ordered)}
    if booking.priced:
        rows = (await connection.execute(_ACCEPT, columns | _booked_columns(booking))).all()
    else:
        rows = (await connection.execute(_ACCEPT_UNPRICED, columns)).all()
    if not rows[0].is_enough:
        return None
    return {row.request_id: row.created_at for row in rows if row.request_id is not None}


def _wanted(new: NewRequest) -> Wanted:
    estimate = estimated_cost(new.model, new.event) if new.model else None
    return Wanted(request_id=new.request_id, purpose=_purpose(new) if estimate else Purpose(), estimate=estimate)


def _purpose(new: NewRequest) -> Purpose:
    user, campaign, model = (new.event.get(name) for name in ("userId", "campaignId", "modelId"))
    return Purpose(
        odoo=new.odoo,
        user_id=UUID(user) if user else None,
        campaign_id=UUID(campaign) if campaign else None,
        model_id=UUID(model) if model else None,
    )


def _columns(wanted: Sequence[NewRequest]) -> dict[str, list[Any]]:
    return {
        "request_id": [new.request_id for new in wanted],
        "correlation_id": [new.correlation_id for new in wanted],
        "event": [json.dumps(new.event) for new in wanted],
        "traceparent": [new.traceparent for new in wanted],
        "client": [new.client for new in wanted],
        "odoo": [new.odoo for new in wanted],
        "model": [None if new.model is None else json.dumps(new.model) for new in wanted],
    }


def _booked_columns(booking: Booking) -> dict[str, Any]:
    priced, reservations = booking.priced, booking.reservations
    amounts = dict.fromkeys(booking.most, Decimal(0))
    for one in reservations:
        amounts[one.budget_id] += one.amount
    return {
        "priced": [each.request_id for each, _ in priced],
        "priced_odoo": [each.purpose.odoo for each, _ in priced],
        "priced_user": [each.purpose.user_id for each, _ in priced],
        "priced_campaign": [each.purpose.campaign_id for each, _ in priced],
        "priced_model": [each.purpose.model_id for each, _ in priced],
        "estimate": [money.amount for _, money in priced],
        "currency": [money.currency for _, money in priced],
        "rates": [booking.rates[money.currency] for _, money in priced],
        "budget_id": list(amounts),
        "amount": list(amounts.values()),
        "most": list(booking.most.values()),
        "reserving": [one.request_id for one in reservations],
        "reserved_of": [one.budget_id for one in reservations],
        "reserved": [one.amount for one in reservations],
    }
