import { describe, expect, test } from "@odoo/hoot";
import { press, waitFor } from "@odoo/hoot-dom";
import { advanceTime, animationFrame } from "@odoo/hoot-mock";
import { defineMailModels, start, startServer } from "@mail/../tests/mail_test_helpers";
import {
    contains,
    defineModels,
    fields,
    getService,
    models,
    mountView,
    mountWithCleanup,
    onRpc,
    serverState,
} from "@web/../tests/web_test_helpers";
import { BatchBanner } from "@aigen_image/batch/batch_banner";
import { watchedBatches } from "@aigen_image/news";

describe.current.tags("desktop");

class Request extends models.Model {
    _name = "aigen.image.request";

    prompt = fields.Text();
    variants = fields.Selection({
        selection: [1, 2, 3, 4, 5, 6, 7, 8].map((number) => [`${number}`, `${number}`]),
    });
    matrix_prompts = fields.Json();
    matrix_error = fields.Char();
    picture_count = fields.Integer();
    estimated_total = fields.Char();
    can_try_again = fields.Boolean();
    refused = fields.Boolean();

    _records = [
        { id: 1, prompt: "A boat", variants: "1", picture_count: 1 },
        { id: 2, prompt: "A boat", variants: "4", picture_count: 4, estimated_total: "0.14 USD" },
        { id: 3, prompt: "A {boat", variants: "1", matrix_error: "A brace is not closed." },
        { id: 4, can_try_again: true },
        { id: 5, refused: true },
    ];
}

class Batch extends models.Model {
    _name = "aigen.image.batch";

    name = fields.Char();
    prompt = fields.Text();
    picture_count = fields.Integer();
    ready_count = fields.Integer();
    open_count = fields.Integer();
    failed_count = fields.Integer();
    cost = fields.Char();

    _records = [
        { id: 1, name: "A boat", prompt: "<b>A boat</b>", picture_count: 4, ready_count: 1, open_count: 3, cost: "about 0.14 USD" },
        { id: 2, name: "A ship", prompt: "A ship", picture_count: 2, ready_count: 1, failed_count: 1 },
    ];
}

defineMailModels();
defineModels([Batch, Request]);

const ARCH = `
    <form>
        <field name="prompt"/>
        <field name="variants" widget="aigen_variants"/>
        <widget name="aigen_matrix"/>
        <widget name="aigen_generate"/>
    </form>`;
const mount = (resId) => mountView({ resModel: "aigen.image.request", type: "form", resId, arch: ARCH });
const BUTTON = "button[name=action_generate]";

/** Each press is a step, with what was saved before. */
function stepOnGenerate() {
    onRpc("aigen.image.request", "web_save", ({ args }) => {
        expect.step(args[1]);
    });
    onRpc("aigen.image.request", "action_generate", ({ args }) => {
        expect.step(`generate ${args[0]}`);
        return false;
    });
}

test("the button says how many pictures it asks for, and what they cost", async () => {
    stepOnGenerate();
    await mount(1);
    expect(BUTTON).toHaveText("Generate");
    expect(BUTTON).toHaveAttribute("data-hotkey", "g");
    await mount(2);
    expect(`.o_form_view:last ${BUTTON}`).toHaveText("Generate 4 · about 0.14 USD");
    await contains(`.o_form_view:last ${BUTTON}`).click();
    expect.verifySteps(["generate 2"]);
});

test("Ctrl+Enter while one types takes over what was typed and asks for it", async () => {
    stepOnGenerate();
    await mount(1);
    await contains("[name=prompt] textarea").edit("A ship", { confirm: false });
    await press(["ctrl", "Enter"]);
    await animationFrame();
    await animationFrame();
    expect.verifySteps([{ prompt: "A ship" }, "generate 1"]);
});

test("a prompt that gives nothing says why, and cannot be asked for", async () => {
    stepOnGenerate();
    await mount(3);
    expect(BUTTON).not.toBeEnabled();
    expect(".o_widget_aigen_matrix [role=alert]").toHaveText("A brace is not closed.");
    await contains("[name=prompt] textarea").click();
    await press(["ctrl", "Enter"]);
    await animationFrame();
    expect.verifySteps([]);
});

test("what the alternatives give is shown while one types, as text", async () => {
    onRpc("aigen.image.request", "onchange", ({ args }) => {
        expect.step(args[1].prompt);
        return { value: { matrix_prompts: ["A <b>red</b> boat", "A blue boat"], picture_count: 2 } };
    });
    Request._onChanges = { prompt() {} };
    await mount(1);
    await contains("[name=prompt] textarea").edit("A {<b>red</b>|blue} boat", { confirm: false });
    expect(".o_aigen_matrix").toHaveCount(0);
    await advanceTime(400);
    await animationFrame();
    expect.verifySteps(["A {<b>red</b>|blue} boat"]);
    expect(".o_aigen_matrix summary").toHaveText("2 pictures of 2 prompts:");
    expect(".o_aigen_matrix li:first").toHaveText("A <b>red</b> boat");
    expect(BUTTON).toHaveText("Generate 2");
});

test("the number of variants is chosen with the mouse or the keys", async () => {
    onRpc("aigen.image.request", "web_save", ({ args }) => {
        expect.step(args[1]);
    });
    await mount(1);
    expect("[name=variants] input").toHaveCount(8);
    expect("[name=variants] input:checked").toHaveAttribute("data-value", "1");
    await contains("[name=variants] label:contains(4)").click();
    expect("[name=variants] input:checked").toHaveAttribute("data-value", "4");
    await contains(".o_form_button_save").click();
    expect.verifySteps([{ variants: "4" }]);
});

test("on a card, what failed can be tried again, and what was refused said in other words", async () => {
    for (const method of ["action_try_again", "action_change_words"]) {
        onRpc("aigen.image.request", method, ({ args }) => {
            expect.step(`${method} ${args[0]}`);
            return false;
        });
    }
    await mountView({
        resModel: "aigen.image.request",
        type: "kanban",
        arch: `<kanban><templates><t t-name="card"><widget name="aigen_try_again"/></t></templates></kanban>`,
        domain: [["id", "in", [1, 4, 5]]],
    });
    expect(".o_kanban_record:first button").toHaveCount(0);
    await contains("button:contains(Try again)").click();
    await contains("button:contains(Change the words)").click();
    expect.verifySteps(["action_try_again 4", "action_change_words 5"]);
});

test("above the pictures stands what they were asked for, how far they are, and what can be done", async () => {
    onRpc("aigen.image.batch", "action_cancel", ({ args }) => {
        expect.step(`cancel ${args[0]}`);
        return false;
    });
    await mountWithCleanup(BatchBanner, { props: { batchId: 1 } });
    expect(".o_aigen_batch_prompt").toHaveText("<b>A boat</b>");
    expect(".o_aigen_batch [role=status]").toHaveText("1 of 4 ready · about 0.14 USD");
    expect(".o_aigen_batch button").toHaveCount(2);
    await contains("button:contains(Cancel all)").click();
    expect.verifySteps(["cancel 1"]);
    expect([...watchedBatches]).toEqual([1]);
    await mountWithCleanup(BatchBanner, { props: { batchId: 2 } });
    expect("button:contains(Try failed ones again)").toHaveCount(1);
});

test("whoever may not see the batch sees the pictures without a banner", async () => {
    onRpc("aigen.image.batch", "read", () => {
        throw new Error("no right");
    });
    await mountWithCleanup(BatchBanner, { props: { batchId: 1 } });
    expect(".o_aigen_batch").toHaveCount(0);
    expect(".o_error_dialog").toHaveCount(0);
});

test("the banner stays when it cannot be read for a moment", async () => {
    await mountWithCleanup(BatchBanner, { props: { batchId: 1 } });
    onRpc("aigen.image.batch", "read", () => {
        throw new Error("Odoo is away");
    });
    await advanceTime(6000);
    await animationFrame();
    expect(".o_aigen_batch").toHaveCount(1);
});

test("of pictures that were asked for together a person elsewhere is told once, when all have ended", async () => {
    const env = await startServer();
    await start();
    const [partner] = env["res.partner"].read(serverState.partnerId);
    const tell = async (news) => {
        env["bus.bus"]._sendone(partner, "aigen_image.request/update", { name: "A boat", version: 3, ...news });
        await animationFrame();
    };
    await getService("bus_service").start();
    await tell({ id: 1, status: "completed", batch: 1 });
    await advanceTime(1500);
    expect(".o_notification").toHaveCount(0);
    await tell({ id: 2, status: "completed", batch: 2 });
    await tell({ id: 3, status: "failed", batch: 2 });
    await advanceTime(1500);
    await waitFor(".o_notification");
    expect(".o_notification").toHaveCount(1);
    expect(".o_notification").toHaveText(/1 of 2 pictures are ready\.?\s+A ship/);
});
