"""The queues of the outbox: which entries are claimed together.

Each step has a queue of its name. For requests of another Odoo than the default one, `dispatch` and `deliver` have a
queue for each Odoo, such as `deliver:north`. A worker claims the deliveries of each Odoo on their own, so that an Odoo
that is away delays no other, and takes turns between the queues of `dispatch`. A version that knows one Odoo claims
none of these queues: it never delivers a result to the wrong Odoo.

The column `outbox.step` holds the queue. Statements insert the step, and a trigger (migration 0017) turns it into the
queue of the request's Odoo, whichever version inserts it.
"""

from aigen_bridge.domain.request import DEFAULT_ODOO, Step

ODOO_NAME = "[a-z][a-z0-9-]{0,62}"
"""A regular expression for the name of an Odoo. PostgreSQL and Python read it alike."""
PER_ODOO = (Step.DISPATCH, Step.DELIVER)
"""The steps that have a queue for each Odoo."""


def queue_of(step: Step, odoo: str) -> str:
    """Returns the queue of a step for the requests of an Odoo."""
    return f"{step}:{odoo}" if step in PER_ODOO and odoo != DEFAULT_ODOO else step.value


def step_of(queue: str) -> Step:
    """Returns the step that the entries of a queue belong to."""
    return Step(queue.partition(":")[0])


def odoo_of(queue: str) -> str | None:
    """Returns the Odoo whose entries are in a queue; None if those of all Odoos are."""
    return (queue.partition(":")[2] or DEFAULT_ODOO) if step_of(queue) in PER_ODOO else None


def lane_of(queue: str) -> str:
    """Returns the lane that claims the entries of a queue. Dispatching has one lane for all its queues."""
    return Step.DISPATCH.value if queue.startswith(f"{Step.DISPATCH}:") else queue
