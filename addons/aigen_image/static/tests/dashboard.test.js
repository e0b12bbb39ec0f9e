import { describe, expect, test } from "@odoo/hoot";
import { queryAllTexts } from "@odoo/hoot-dom";
import { animationFrame } from "@odoo/hoot-mock";
import { defineMailModels } from "@mail/../tests/mail_test_helpers";
import { contains, defineModels, fields, getService, models, mountWebClient, onRpc } from "@web/../tests/web_test_helpers";

describe.current.tags("desktop");

class Request extends models.Model {
    _name = "aigen.image.request";

    status = fields.Selection({
        selection: [
            ["completed", "Ready"],
            ["failed", "Failed"],
        ],
    });
    requested_at = fields.Datetime();
    user_id = fields.Many2one({ relation: "res.users" });
    model_id = fields.Many2one({ relation: "aigen.image.model" });
    cost_currency = fields.Char();
    cost_value = fields.Float();
    completed_count = fields.Integer();

    _views = { graph: `<graph/>`, list: `<list><field name="status"/></list>`, search: `<search/>` };
}

class Model extends models.Model {
    _name = "aigen.image.model";

    name = fields.Char();
}

defineMailModels();
defineModels([Request, Model]);

const NOTHING = { pictures: 0, failures: 0, seconds: false, costs: [] };
const COSTS = [
    ["EUR", 1.25],
    ["USD", 0.035],
];
const FIGURES = { pictures: 9, failures: 1, seconds: 12.34, costs: COSTS };

async function open(now, before = NOTHING) {
    onRpc("aigen.image.request", "report_figures", ({ args }) => {
        expect.step(args[0]);
        return { now, before };
    });
    await mountWebClient();
    await getService("action").doAction({ type: "ir.actions.client", tag: "aigen_image.dashboard" });
}

test("the figures stand beside those of the time before, and currencies are not added", async () => {
    await open(FIGURES, { pictures: 3, failures: 1, seconds: 8, costs: [["USD", 0.07]] });
    expect(queryAllTexts(".o_aigen_value")).toEqual(["9", "10.0 %", "12.3", "1.25 EUR\n0.035 USD"]);
    expect(queryAllTexts(".o_aigen_figure .small")).toEqual([
        "Before: 3",
        "Before: 25.0 %",
        "Before: 8.0",
        "Before: 0.07 USD",
    ]);
    expect(".o_graph_renderer").toHaveCount(4);
    expect.verifySteps([30]);
});

test("another period is asked for", async () => {
    await open(FIGURES);
    await contains("button:contains(12 months)").click();
    await animationFrame();
    expect("button.active:contains(12 months)").toHaveCount(1);
    expect.verifySteps([30, 365]);
});

test("without pictures it says so, and draws nothing", async () => {
    await open(NOTHING);
    expect(queryAllTexts(".o_aigen_value")).toEqual(["0", "—", "—", "—"]);
    expect(".o_aigen_dashboard").toHaveText(/No picture ended in this time/);
    expect(".o_graph_renderer").toHaveCount(0);
    expect.verifySteps([30]);
});

test("where nothing was paid for, there is no graph of costs", async () => {
    await open({ ...FIGURES, costs: [] });
    expect(".o_graph_renderer").toHaveCount(3);
    expect.verifySteps([30]);
});
