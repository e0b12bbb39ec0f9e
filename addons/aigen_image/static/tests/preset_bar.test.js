import { describe, expect, test } from "@odoo/hoot";
import { press, queryAllTexts } from "@odoo/hoot-dom";
import { animationFrame, runAllTimers } from "@odoo/hoot-mock";
import {
    contains,
    defineModels,
    fields,
    makeServerError,
    models,
    mountView,
    onRpc,
} from "@web/../tests/web_test_helpers";
import { defineMailModels } from "@mail/../tests/mail_test_helpers";
import { fillTexts } from "@aigen_image/preset/placeholder_dialog";

describe.current.tags("desktop");

class Model extends models.Model {
    _name = "aigen.image.model";

    name = fields.Char();

    _records = [
        { id: 1, name: "Photo" },
        { id: 2, name: "Sketch" },
    ];
}

class Preset extends models.Model {
    _name = "aigen.image.preset";

    name = fields.Char();
    is_visible = fields.Boolean();
    prompt = fields.Text();
    shape = fields.Selection({ selection: [["1:1", "Square"], ["9:16", "Story"]] });
    model_id = fields.Many2one({ relation: "aigen.image.model" });

    _records = [
        { id: 1, name: "<b>Studio</b>", is_visible: true },
        { id: 2, name: "Of another person", is_visible: false },
    ];
    _views = { form: `<form><field name="name"/><field name="prompt"/><field name="shape"/><field name="model_id"/></form>` };
}

class Request extends models.Model {
    _name = "aigen.image.request";

    prompt = fields.Text();
    negative_prompt = fields.Text();
    model_id = fields.Many2one({ relation: "aigen.image.model" });
    shape = fields.Selection({ selection: [["1:1", "Square"], ["9:16", "Story"]] });
    detail = fields.Selection({ selection: [["standard", "Standard"]] });
    steps = fields.Integer();
    cfg = fields.Float();

    _records = [{ id: 1, prompt: "Mine", shape: "1:1", detail: "standard", model_id: 1, steps: 28, cfg: 3.5 }];
}

defineMailModels();
defineModels([Model, Preset, Request]);

const ARCH = `
    <form>
        <widget name="aigen_presets"/>
        <field name="prompt"/><field name="negative_prompt"/><field name="model_id"/><field name="shape"/>
    </form>`;
const mount = () => mountView({ resModel: "aigen.image.request", type: "form", resId: 1, arch: ARCH });
const proposes = (values, more = {}) =>
    onRpc("aigen.image.preset", "propose", () => ({ values, notes: [], placeholders: [], ...more }));
const PROMPT = "[name=prompt] textarea";

test("one click applies what the preset sets, and it can be undone", async () => {
    onRpc("aigen.image.preset", "propose", ({ args }) => {
        expect.step(args);
        return { values: { shape: "9:16", model_id: { id: 2, display_name: "Sketch" } }, notes: [], placeholders: [] };
    });
    await mount();
    expect(queryAllTexts(".o_aigen_preset")).toEqual(["<b>Studio</b>"]);
    await contains(PROMPT).edit("Typed just now", { confirm: false });
    await contains(".o_aigen_preset").click();
    const present = { prompt: "Typed just now", negative_prompt: "", model_id: 1, shape: "1:1", detail: "standard" };
    expect.verifySteps([[[1], { ...present, steps: 28, cfg: 3.5 }]]);
    expect("[name=model_id] input").toHaveValue("Sketch");
    expect(PROMPT).toHaveValue("Typed just now");
    expect(".o_notification").toHaveText(/“<b>Studio<\/b>” is applied/);
    await contains(".o_notification button:contains(Undo)").click();
    expect("[name=model_id] input").toHaveValue("Photo");
    expect(".o_notification").toHaveCount(0);
});

test("words are asked for, and put in place of the placeholders", async () => {
    proposes({ prompt: "a {{subject}} by {{ who }}, {{subject}}" }, { placeholders: ["subject", "who"] });
    await mount();
    await contains(".o_aigen_preset").click();
    expect(".o_aigen_placeholders input:first").toBeFocused();
    await contains(".o_aigen_placeholders [name=subject]").edit("<i>kite</i> $& ", { confirm: false });
    await press("Enter");
    await animationFrame();
    expect(PROMPT).toHaveValue("a <i>kite</i> $& by {{ who }}, <i>kite</i> $&");
    expect(".o_dialog").toHaveCount(0);
});

test("a placeholder may have the name of something that every object has", async () => {
    proposes({ prompt: "a {{constructor}} on {{toString}}" }, { placeholders: ["constructor", "toString"] });
    await mount();
    await contains(".o_aigen_preset").click();
    expect(".o_aigen_placeholders [name=constructor]").toHaveValue("");
    await contains(".o_aigen_placeholders [name=toString]").edit("a hill", { confirm: false });
    await press("Enter");
    await animationFrame();
    expect(PROMPT).toHaveValue("a {{constructor}} on a hill");
});

test("nothing is applied when the words are not said", async () => {
    proposes({ prompt: "a {{subject}}" }, { placeholders: ["subject"] });
    await mount();
    await contains(".o_aigen_preset").click();
    await contains(".o_aigen_placeholders button:contains(Discard)").click();
    expect(PROMPT).toHaveValue("Mine");
});

test("what is not offered is said", async () => {
    proposes({ shape: "9:16" }, { notes: ["The model is no longer offered."] });
    await mount();
    await contains(".o_aigen_preset").click();
    expect(".o_notification").toHaveText(/no longer offered/);
});

test("a preset that was deleted meanwhile says so, and goes away", async () => {
    expect.errors(1);
    onRpc("aigen.image.preset", "propose", ({ args }) => {
        Preset._records = [];
        throw makeServerError({ type: "UserError", message: `Preset ${args[0]} is not there any more.` });
    });
    await mount();
    onRpc("aigen.image.preset", "search_read", () => []);
    onRpc("aigen.image.preset", "web_search_read", () => ({ length: 0, records: [] }));
    await contains(".o_aigen_preset").click();
    await animationFrame();
    expect(".o_dialog").toHaveText(/not there any more/);
    expect(".o_aigen_preset").toHaveCount(0);
    expect.verifyErrors([/RPC_ERROR/]);
});

test("many presets are in a menu that can be searched", async () => {
    Preset._records = Array.from({ length: 9 }, (_, n) => ({ id: n + 1, name: `Preset ${n}`, is_visible: true }));
    onRpc("aigen.image.preset", "propose", ({ args }) => {
        expect.step(args[0]);
        return { values: {}, notes: [], placeholders: [] };
    });
    await mount();
    expect(".o_aigen_preset").toHaveCount(5);
    await contains(".o_aigen_presets .o_select_menu_toggler").click();
    expect(".o_select_menu_item").toHaveCount(4);
    await contains(".o_select_menu_item:contains(Preset 7)").click();
    expect.verifySteps([[8]]);
});

test("the present settings are saved as a preset", async () => {
    await mount();
    await contains(".o_aigen_save_preset").click();
    expect(".o_dialog [name=prompt] textarea").toHaveValue("Mine");
    expect(".o_dialog [name=model_id] input").toHaveValue("Photo");
    await contains(".o_dialog [name=name] input").edit("New one");
    await contains(".o_dialog .o_form_button_save").click();
    await runAllTimers();
    expect(".o_dialog").toHaveCount(0);
});

test("a recent prompt is searched at the server, and taken over", async () => {
    onRpc("aigen.image.request", "recent_prompts", ({ args: [words], kwargs: { favorites } }) => {
        expect.step(`${words}|${favorites}`);
        return words ? [{ id: 7, prompt: "A <b>kite</b>", source: null }] : [];
    });
    await mount();
    await contains(".o_aigen_recent").click();
    expect(".o_aigen_recent_prompts").toHaveText(/appear here/);
    await contains(".o_aigen_recent_prompts button:contains(Favourites)").click();
    await contains(".o_aigen_recent_prompts input").edit("kite", { confirm: false });
    await runAllTimers();
    expect.verifySteps(["|false", "|true", "kite|true"]);
    await contains(".o_aigen_recent_prompts .list-group-item").click();
    expect(PROMPT).toHaveValue("A <b>kite</b>");
    expect(".o_dialog").toHaveCount(0);
});

test("placeholders are those that the server finds", () => {
    const fill = (prompt) => fillTexts({ prompt }, { x: "1", "a b": "2", toString: "3" }).prompt;
    expect(fill("{{x}} {{ x }} {{a b}} {x} {{}} {{ }} {{y}} {{valueOf2}}")).toBe("1 1 2 {x} {{}} {{ }} {{y}} {{valueOf2}}");
});
