import { describe, expect, test } from "@odoo/hoot";
import { animationFrame } from "@odoo/hoot-mock";
import { defineMailModels } from "@mail/../tests/mail_test_helpers";
import { contains, defineModels, fields, models, mountView, onRpc } from "@web/../tests/web_test_helpers";
import { formatAmount } from "@aigen_image/amount";

describe.current.tags("desktop");

class Model extends models.Model {
    _name = "aigen.image.model";

    name = fields.Char();

    _records = [
        { id: 1, name: "Photo" },
        { id: 2, name: "Ink" },
    ];
}

class Request extends models.Model {
    _name = "aigen.image.request";

    status = fields.Selection({
        selection: [
            ["draft", "New"],
            ["completed", "Ready"],
        ],
    });
    model_id = fields.Many2one({ relation: "aigen.image.model" });
    shape = fields.Selection({
        selection: [
            ["1:1", "Square"],
            ["16:9", "Wide"],
            ["9:16", "Story"],
        ],
    });
    shapes_offered = fields.Json();
    resolution = fields.Char();
    error_code = fields.Char();
    picture_count = fields.Integer();

    _records = [
        { id: 1, status: "draft", model_id: 1, shape: "1:1", resolution: "1024x1024" },
        { id: 2, status: "completed", model_id: 1, shape: "1:1", resolution: "1024x1024" },
        { id: 3, status: "draft", model_id: 1, shape: "1:1", resolution: "1024x1024", picture_count: 4 },
    ];
}

class Change extends models.Model {
    _name = "aigen.budget.change";

    name = fields.Char({ required: true });
    is_new = fields.Boolean();
    state = fields.Char();
    words = fields.Char();
    may_force = fields.Boolean();

    _records = [{ id: 1, name: "marketing", state: "open" }];
}

defineMailModels();
defineModels([Change, Model, Request]);

const TIGHT = { name: "ann", limit: "5.00", currency: "USD", period: "day", kind: "hard", left: "0.02", used: 99.6, is_too_little: true };
const WIDE = { name: "all", limit: "100.00", currency: "USD", period: "month", kind: "soft", left: "90.00", used: 10, is_too_little: false };

/** A bridge with these budgets. Each question is a step. */
function budgets(...found) {
    onRpc("aigen.money.left", "ask", ({ args }) => {
        expect.step(args[0]);
        return 7;
    });
    onRpc("aigen.money.left", "read", () => [{ id: 7, budgets: found }]);
}

function mount(resId, arch) {
    return mountView({ resModel: "aigen.image.request", type: "form", resId, arch });
}

const LEFT = `<form><field name="model_id"/><widget name="aigen_left"/></form>`;

test("beside Generate stands what is left, the tightest first, and whether it is enough", async () => {
    budgets(TIGHT, WIDE);
    await mount(1, LEFT);
    await animationFrame();
    expect.verifySteps([{ model_id: 1, campaign_id: false, resolution: "1024x1024", number: 1 }]);
    expect(".o_aigen_left li").toHaveCount(2);
    expect(".o_aigen_left li:first").toHaveText(/Left today · ann\s+0.02 of 5.00 USD\s+Not enough for this picture/);
    expect(".o_aigen_left li:last").toHaveText(/Left this month · all\s+90.00 of 100.00 USD/);
    expect(".o_aigen_left li:last .text-danger").toHaveCount(0);
});

test("for several pictures it is asked whether there is enough for all of them", async () => {
    budgets(TIGHT);
    await mount(3, LEFT);
    await animationFrame();
    expect.verifySteps([{ model_id: 1, campaign_id: false, resolution: "1024x1024", number: 4 }]);
    expect(".o_aigen_left li").toHaveText(/Not enough for these pictures/);
});

test("another model is another question, and what did not change is not asked again", async () => {
    budgets(WIDE);
    await mount(1, LEFT);
    await contains(".o_field_widget[name=model_id] input").click();
    await contains(".o-autocomplete--dropdown-item:contains(Ink)").click();
    await animationFrame();
    expect.verifySteps([
        { model_id: 1, campaign_id: false, resolution: "1024x1024", number: 1 },
        { model_id: 2, campaign_id: false, resolution: "1024x1024", number: 1 },
    ]);
});

test("nothing is shown where nothing is known, and nothing is asked about a picture that is there", async () => {
    budgets();
    await mount(1, LEFT);
    await animationFrame();
    expect(".o_aigen_left").toHaveCount(0);
    expect.verifySteps([{ model_id: 1, campaign_id: false, resolution: "1024x1024", number: 1 }]);
    await mount(2, LEFT);
    await animationFrame();
    expect.verifySteps([]);
});

test("a question that fails does not disturb the form", async () => {
    onRpc("aigen.money.left", "ask", () => {
        throw new Error("no right");
    });
    await mount(1, LEFT);
    await animationFrame();
    expect(".o_aigen_left").toHaveCount(0);
    expect(".o_error_dialog").toHaveCount(0);
});

test("a choice has only what the model offers, and what is chosen already", async () => {
    onRpc("aigen.image.request", "web_read", () => [{ id: 1, shape: "1:1", shapes_offered: ["16:9"] }]); // the mock keeps no JSON
    const arch = `
        <form>
            <field name="shapes_offered" invisible="1"/>
            <field name="shape" widget="aigen_offered" options="{'offered': 'shapes_offered'}"/>
        </form>`;
    await mount(1, arch);
    const select = document.querySelector("[name=shape] select");
    if (select) {
        const shown = [...select.options].map((option) => option.text).filter(Boolean);
        expect(shown).toEqual(["Square", "Wide"]);
    } else {
        await contains("[name=shape] input").click(); // Odoo 19
        expect(".o_select_menu_item").toHaveCount(2);
    }
});

test("amounts have at least two places, and as many as they need", () => {
    expect([0, 0.035, 0.1 + 0.2, 12.5, 0.03670016, false].map(formatAmount)).toEqual([
        "0.00",
        "0.035",
        "0.30",
        "12.50",
        "0.03670016",
        "—",
    ]);
});

const DIALOG = `
    <form>
        <field name="name"/><field name="state" invisible="1"/><field name="words"/>
        <widget name="aigen_budget_buttons"/>
    </form>`;

test("a budget that the bridge refuses stays open with its words", async () => {
    onRpc("aigen.budget.change", "action_save", ({ kwargs }) => {
        expect.step(kwargs.force);
        return true;
    });
    onRpc("aigen.budget.change", "web_read", () => [
        { id: 1, name: "marketing", state: "refused", words: "north has 1.4.0.", may_force: true, is_new: false },
    ]);
    onRpc("aigen.budget.change", "read", () => [{ id: 1, state: "refused", words: "north has 1.4.0." }]);
    await mountView({ resModel: "aigen.budget.change", type: "form", resId: 1, arch: DIALOG });
    await contains("button:contains(Save):first").click();
    await animationFrame();
    expect("[name=words] input").toHaveValue("north has 1.4.0.");
    await contains("button:contains(nevertheless)").click();
    expect.verifySteps([false, true]);
});

test("a budget is removed only after a question", async () => {
    onRpc("aigen.budget.change", "action_remove", () => {
        expect.step("removed");
        return true;
    });
    onRpc("aigen.budget.change", "read", () => [{ id: 1, state: "refused", words: "" }]);
    await mountView({ resModel: "aigen.budget.change", type: "form", resId: 1, arch: DIALOG });
    await contains("button:contains(Remove)").click();
    expect.verifySteps([]);
    await contains(".modal button:contains(Remove)").click();
    await animationFrame();
    expect.verifySteps(["removed"]);
});
