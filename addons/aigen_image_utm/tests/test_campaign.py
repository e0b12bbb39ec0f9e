from odoo.tests import tagged

from odoo.addons.aigen_image.bridge import client
from odoo.addons.aigen_image.tests.common import AigenCase


@tagged("post_install", "-at_install")
class TestCampaign(AigenCase):
    def test_the_campaign_goes_with_the_event_by_a_uuid_that_stays(self):
        self.bridge.takes_requests()
        campaign = self.env["utm.campaign"].create({"name": "Spring"})
        for _ in range(2):
            self.draft(campaign_id=campaign.id).action_generate()
            self.commit()
        self.draft().action_generate()
        self.commit()
        first, second, without = self.bridge.sent()
        self.assertEqual(first["campaignId"], campaign.aigen_uuid)
        self.assertEqual(second["campaignId"], campaign.aigen_uuid)
        self.assertNotIn("campaignId", without)

    def test_the_database_keeps_the_uuids_of_campaigns_apart(self):
        self.env.cr.execute("SELECT FROM pg_constraint WHERE conname = 'utm_campaign_aigen_uuid_unique'")
        self.assertEqual(self.env.cr.rowcount, 1)

    def test_a_refused_campaign_is_told_at_its_field(self):
        errors = [{"field": "campaignId", "message": "is unknown"}]
        self.bridge.say("POST", client.REQUESTS, 422, {"detail": "Not valid.", "errors": errors})
        record = self.draft(campaign_id=self.env["utm.campaign"].create({"name": "Spring"}).id)
        record.action_generate()
        self.commit()
        self.assertEqual(record.campaign_id_refusal, "is unknown")

    def test_budgets_count_by_campaign(self):
        campaign = self.env["utm.campaign"].create({"name": "Spring"})
        self.env["aigen.money.left"].with_user(self.ann).ask({"campaign_id": campaign.id})
        self.commit()
        [query] = self.bridge.sent("GET", client.BUDGETS)
        self.assertEqual(query["campaignId"], campaign.aigen_uuid)
        values = {"name": "spring", "limit": "5", "campaign_id": campaign.id}
        change = self.env["aigen.budget.change"].with_user(self.mia).create(values)
        self.assertEqual(change._body()["match"], {"campaignId": campaign.aigen_uuid})
        budget = self.env["aigen.budget"].create({"name": "spring", "match": {"campaignId": campaign.aigen_uuid}})
        self.assertEqual(budget.counts, "Campaign: Spring")
        self.assertEqual(change._values_of_match(budget.match)["campaign_id"], campaign.id)
