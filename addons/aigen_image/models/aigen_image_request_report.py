from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

MEASURES = {
    "completed_count:sum": "COUNT(*) FILTER (WHERE %(status)s = 'completed')",
    "failed_count:sum": "COUNT(*) FILTER (WHERE %(status)s = 'failed')",
    "waited:avg": (
        "AVG(EXTRACT(EPOCH FROM %(finished_at)s - %(requested_at)s)::float8) FILTER (WHERE %(status)s = 'completed')"
    ),
    "made_in:avg": "AVG(NULLIF(%(made_in)s, 0))",
    "cost_value:sum": "CASE WHEN COUNT(DISTINCT %(cost_currency)s) < 2 THEN SUM(%(cost_value)s) END",
}
"""What a group of pictures adds up to. Amounts of several currencies are never added: such a sum is empty."""


class AigenImageRequest(models.Model):
    """What the reports measure."""

    _inherit = "aigen.image.request"

    completed_count = fields.Integer("Pictures", compute="_compute_measures", aggregator="sum")
    failed_count = fields.Integer("Failures", compute="_compute_measures", aggregator="sum")
    waited = fields.Float(
        "Seconds until ready", digits=(8, 1), compute="_compute_measures", aggregator="avg", help="On average."
    )

    @api.depends("status", "requested_at", "finished_at")
    def _compute_measures(self):
        for record in self:
            record.completed_count = int(record.status == "completed")
            record.failed_count = int(record.status == "failed")
            is_timed = record.completed_count and record.finished_at and record.requested_at
            record.waited = (record.finished_at - record.requested_at).total_seconds() if is_timed else 0

    def _read_group_select(self, aggregate_spec, query):
        measure = MEASURES.get(aggregate_spec)
        if not measure:
            return super()._read_group_select(aggregate_spec, query)
        names = ("status", "requested_at", "finished_at", "made_in", "cost_currency", "cost_value")
        return SQL(measure, **{name: self._field_to_sql(self._table, name, query) for name in names})

    @api.model
    def report_figures(self, days):
        """Return what the dashboard shows: the figures of the last days, and of as many days before."""
        now = fields.Datetime.now()
        since, before = (now - timedelta(days=number) for number in (days, 2 * days))
        return {"now": self._figures(since, now), "before": self._figures(before, since)}

    @api.model
    def _figures(self, since, until):
        """Return the figures of the pictures that were asked for in this time and that the user may read."""
        everything = self.with_context(active_test=False)  # an archived picture was made and paid for, too
        domain = [("requested_at", ">=", since), ("requested_at", "<", until)]
        measures = ["completed_count:sum", "failed_count:sum", "waited:avg"]
        [(pictures, failures, seconds)] = everything._read_group(domain, [], measures)
        is_paid = ("cost_currency", "!=", False)
        costs = everything._read_group([*domain, is_paid], ["cost_currency"], ["cost_value:sum"])
        return {"pictures": pictures, "failures": failures, "seconds": seconds, "costs": costs}
