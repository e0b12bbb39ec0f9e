from datetime import timedelta

from odoo.tests import tagged

from .common import AigenCase, payload

MEASURES = ["completed_count:sum", "failed_count:sum", "waited:avg"]


@tagged("post_install", "-at_install")
class TestReport(AigenCase):
    def setUp(self):
        super().setUp()
        self.env["aigen.image.request"].search([]).requested_at = False

    def ask(self, ended="completed", seconds=10, user=None, **told):
        """Let a picture be asked for that ends so after these seconds."""
        record = self.underway(user=user or self.ann)
        self.apply(payload(record, 3, ended, **told))
        record.sudo().requested_at = record.finished_at - timedelta(seconds=seconds)
        return record

    def lose(self, **how):
        return self.ask("failed", errorCode="timed_out", **how)

    def pay(self, amount, currency="USD", **how):
        return self.ask(cost={"amount": amount, "currency": currency, "basis": "billed"}, **how)

    def figures(self, user=None, days=30):
        return self.env["aigen.image.request"].with_user(user or self.mia).report_figures(days)

    def test_a_group_counts_pictures_and_failures_and_how_long_pictures_took(self):
        records = self.ask(seconds=10) | self.ask(seconds=20) | self.lose(seconds=600) | self.underway() | self.draft()
        self.assertEqual(records._read_group([("id", "in", records.ids)], [], MEASURES), [(2, 1, 15.0)])
        self.assertEqual([record.completed_count for record in records], [1, 1, 0, 0, 0])
        self.assertEqual([record.failed_count for record in records], [0, 0, 1, 0, 0])
        self.assertEqual([record.waited for record in records], [10, 20, 0, 0, 0])

    def test_a_picture_whose_service_said_no_seconds_does_not_lower_the_average(self):
        records = self.ask() | self.ask(generation={"provider": "fal", "seconds": 4.0})
        self.assertEqual(records._read_group([("id", "in", records.ids)], [], ["made_in:avg"]), [(4.0,)])

    def test_reports_offer_no_sums_of_seeds_and_steps(self):
        described = self.env["aigen.image.request"].fields_get(attributes=["type", "aggregator"])
        sums = {name for name, of in described.items() if of["type"] in {"integer", "float"} and of.get("aggregator")}
        self.assertLessEqual(
            {"completed_count", "failed_count", "waited", "made_in", "cost_value", "image_size"}, sums - {"id"}
        )
        self.assertFalse(sums & {"seed", "steps", "cfg", "version"})

    def test_the_dashboard_compares_with_the_time_before_and_adds_no_currencies(self):
        self.pay("0.035", seconds=10)
        self.pay("0.01", seconds=20)
        self.pay("1.25", "EUR", seconds=30)
        self.lose()
        self.ask(seconds=40 * 86400)
        self.ask(seconds=70 * 86400)
        told = self.figures()
        self.assertEqual(told["now"] | {"costs": 0}, {"pictures": 3, "failures": 1, "seconds": 20, "costs": 0})
        self.assertEqual(told["now"]["costs"], [("EUR", 1.25), ("USD", 0.045)])
        self.assertEqual((told["before"]["pictures"], told["before"]["costs"]), (1, []))

    def test_without_pictures_the_figures_are_empty(self):
        empty = {"pictures": 0, "failures": 0, "seconds": False, "costs": []}
        self.assertEqual(self.figures(), {"now": empty, "before": empty})

    def test_a_person_reads_figures_of_own_pictures_only(self):
        self.ask(user=self.ann)
        self.lose(user=self.bob)
        self.assertEqual(self.figures(self.ann)["now"]["failures"], 0)
        self.assertEqual(self.figures(self.bob)["now"]["pictures"], 0)
        self.assertEqual(
            self.figures(self.mia)["now"] | {"seconds": 0, "costs": []},
            {"pictures": 1, "failures": 1, "seconds": 0, "costs": []},
        )

    def test_archived_pictures_count(self):
        self.pay("0.035").active = False
        self.assertEqual(self.figures()["now"]["pictures"], 1)
