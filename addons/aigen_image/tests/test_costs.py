from decimal import Decimal

from odoo.tests import tagged

from .common import AigenCase, payload

AMOUNTS = ["0.035", "0.03670016", "0.000000001", "12.5", "0.035"]


@tagged("post_install", "-at_install")
class TestCosts(AigenCase):
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

    def test_pictures_of_before_the_update_count(self):
        record = self.pay("0.035")
        self.env.cr.execute("UPDATE aigen_image_request SET cost_value = NULL")
        self.env.add_to_compute(record._fields["cost_value"], record)
        self.assertEqual(self.sums("cost_currency"), {("USD",): 0.035})
