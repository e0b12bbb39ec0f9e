import { describe, expect, test } from "@odoo/hoot";
import { advanceTime, animationFrame } from "@odoo/hoot-mock";
import { defineMailModels } from "@mail/../tests/mail_test_helpers";
import { defineModels, fields, models, mountView, onRpc } from "@web/../tests/web_test_helpers";

describe.current.tags("desktop");

class Request extends models.Model {
    _name = "aigen.image.request";

    status = fields.Selection({
        selection: [
            ["dispatched", "Being made"],
            ["failed", "Failed"],
        ],
    });
    explanation = fields.Char();
    version = fields.Integer();
    held_since = fields.Datetime();
    progress = fields.Json();
    resent = fields.Integer();
    elapsed = fields.Float();
    expected = fields.Float();

    _records = [
        ...[...Array(24).keys()].map((index) => ({ id: index + 1, status: "dispatched", elapsed: 20, expected: 15 })),
        { id: 25, status: "failed", explanation: "It did not work." },
    ];
}

defineMailModels();
defineModels([Request]);

const CARDS = `<kanban js_class="aigen_gallery"><templates><t t-name="card">
    <field name="explanation" widget="aigen_moment" options="{'card': True}"/>
</t></templates></kanban>`;
const ROWS = `<list js_class="aigen_list"><field name="explanation" widget="aigen_moment"/></list>`;

for (const [type, arch, usual, late, failed] of [
    ["kanban", CARDS, "Being made", /^Being made\s+This takes longer than usual$/, /^Failed\s+It did not work\.$/],
    ["list", ROWS, "", /^This takes longer than usual$/, /^It did not work\.$/],
]) {
    test(`twenty-four pictures in a ${type} cost one question, and say when they are late`, async () => {
        onRpc("aigen.image.request", "action_follow", ({ args }) => {
            expect.step(`${args[0].length} pictures`);
            return true;
        });
        await mountView({ resModel: "aigen.image.request", type, arch });
        await advanceTime(0);
        expect.verifySteps(["24 pictures"]);
        expect(".o_aigen_moment:eq(0)").toHaveText(usual);
        expect(".o_aigen_moment:eq(24)").toHaveText(failed);
        await advanceTime(1000);
        await advanceTime(1000);
        await advanceTime(1000);
        await animationFrame();
        expect(".o_aigen_moment:eq(0)").toHaveText(late);
        expect.verifySteps(["24 pictures"]);
    });
}
