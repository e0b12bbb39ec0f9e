from decimal import Decimal

from odoo.tests import tagged

from .common import AigenCase, payload

AMOUNTS = ["0.035", "0.03670016", "0.000000001", "12.5", "0.035"]


@tagged("post_install", "-at_install")
class TestCosts(AigenCase):
    def setUp(self):
        super().setUp()
        self.env.cr.execute("UPDATE aigen_image_request SET cost_value = 0, cost_currency = NULL, finished_at = NULL")

    def pay(self, amount, currency="USD", user=None):
        record = self.underway(user=user) if user else self.underway()
        self.apply(payload(record, cost={"amount": amount, "currency": currency, "basis": "billed"}))
        return record

    def sums(self, *groupby):
        """Return the sums of a pivot, by the values of the groups."""
        domain = [("cost_currency", "!=", False)]
        rows = self.env["aigen.image.request"]._read_group(domain, groupby, ["cost_value:sum"])
        return {row[:-1]: row[-1] for row in rows}

    def test_the_sum_is_that_of_the_exact_amounts(self):
        for amount in AMOUNTS:
            self.pay(amount)
        exact = sum(map(Decimal, AMOUNTS))
        self.assertEqual(f"{self.sums('cost_currency')['USD',]:.9f}", f"{exact:.9f}")
        self.env.cr.execute("SELECT sum(cost_value) FROM aigen_image_request")
        self.assertEqual(self.env.cr.fetchone()[0], float(exact))

    def test_a_corrected_cost_corrects_the_sum(self):
        record = self.pay("0.035")
        self.apply(payload(record, 4, cost={"amount": "0.07", "currency": "USD", "basis": "billed"}))
        self.assertEqual(self.sums("cost_currency"), {("USD",): 0.07})

    def test_amounts_of_two_currencies_are_never_added(self):
        self.pay("0.035")
        self.pay("1.25", "EUR")
        self.assertEqual(self.sums("cost_currency"), {("EUR",): 1.25, ("USD",): 0.035})
        self.assertFalse(self.sums()[()])
        self.assertFalse(self.sums("model_id")[self.model,])

    def ended(self, record, **resource):
        """Returns the bridge's answer about a picture that has ended."""
        return {"requestId": record.request_id, "status": record.status, "version": record.version} | resource

    def test_what_the_bridge_has_booked_counts_more_than_what_was_reported(self):
        twice, silent = self.pay("0.035"), self.underway()
        self.apply(payload(silent, 2, "failed", errorCode="timed_out"))
        self.bridge.holds(
            self.ended(twice, charged=[{"amount": "0.07", "currency": "USD", "basis": "estimated"}]),
            self.ended(silent, charged=[{"amount": "0.0367", "currency": "USD", "basis": "estimated"}]),
        )
        self.bridge.calls.clear()
        self.env["aigen.image.request"]._cron_costs()
        self.commit()
        self.assertEqual((twice.cost, silent.cost), ("0.07 USD (estimated)", "0.0367 USD (estimated)"))
        self.assertEqual((twice.status, silent.status), ("completed", "failed"))
        self.assertEqual(self.sums("cost_currency"), {("USD",): 0.1067})
        self.assertEqual(len(self.bridge.calls), 1)

    def ask(self, *resources):
        """Let the cron ask what was booked."""
        self.bridge.holds(*resources)
        self.env["aigen.image.request"]._cron_costs()
        self.commit()

    def test_what_was_booked_in_a_second_currency_is_shown_and_not_added(self):
        record = self.pay("0.035")
        charged = [
            {"amount": "0.07", "currency": "USD", "basis": "billed"},
            {"amount": "1.50", "currency": "EUR", "basis": "estimated"},
            {"amount": "2.00", "currency": "GBP", "basis": "billed"},
        ]
        self.ask(self.ended(record, charged=charged))
        self.assertEqual(record.cost, "0.07 USD + 1.50 EUR + 2.00 GBP (estimated)")
        self.assertEqual(self.sums("cost_currency"), {("USD",): 0.07})
        self.ask(self.ended(record, charged=charged[:1]))
        self.assertEqual(record.cost, "0.07 USD")

    def test_an_estimate_that_was_taken_back_costs_nothing_here_either(self):
        record = self.underway()
        self.apply(payload(record, 2, "failed", errorCode="timed_out"))
        self.ask(self.ended(record, charged=[{"amount": "0.0367", "currency": "USD", "basis": "estimated"}]))
        self.assertEqual(record.cost, "0.0367 USD (estimated)")
        self.ask(self.ended(record, charged=[], cost=None))
        self.assertEqual((record.cost, record.cost_currency), (False, False))
        self.assertEqual(self.sums("cost_currency"), {})

    def test_a_bridge_that_books_nothing_leaves_what_was_reported_and_is_asked_once(self):
        record, removed = self.pay("0.035"), self.pay("0.035")
        removed.attachment_id.unlink()
        self.bridge.calls.clear()
        for resource in ({}, {"charged": []}, {"charged": 7}, {"charged": [7]}):
            self.bridge.holds(self.ended(record, cost={"amount": "0.035", "currency": "USD"}, **resource))
            self.env["aigen.image.request"]._cron_costs()
            self.commit()
            self.assertEqual(record.cost_amount, "0.035", resource)
        self.assertEqual({query["ids"] for query in self.bridge.sent("GET")}, {record.request_id})
        self.assertEqual(len(self.bridge.calls), 4)

    def test_pictures_of_before_the_update_count(self):
        record = self.pay("0.035")
        self.env.cr.execute("UPDATE aigen_image_request SET cost_value = NULL")
        self.env.add_to_compute(record._fields["cost_value"], record)
        self.assertEqual(self.sums("cost_currency"), {("USD",): 0.035})
