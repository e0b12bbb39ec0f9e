import { describe, expect, test } from "@odoo/hoot";
import { click, edit, press, queryAllAttributes, select } from "@odoo/hoot-dom";
import { advanceTime, animationFrame } from "@odoo/hoot-mock";
import { Component, useState, xml } from "@odoo/owl";
import { PicturePicker } from "@aigen_image/picker/picker";
import { defineMailModels } from "@mail/../tests/mail_test_helpers";
import { defineModels, fields, models, mountWithCleanup, onRpc } from "@web/../tests/web_test_helpers";

describe.current.tags("desktop");

class Request extends models.Model {
    _name = "aigen.image.request";

    name = fields.Char();
    status = fields.Selection({
        selection: [
            ["draft", "New"],
            ["dispatched", "Being made"],
            ["completed", "Ready"],
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
    is_favorite = fields.Boolean();
    image_sha256 = fields.Char();
    attachment_id = fields.Many2one({ relation: "ir.attachment" });
    thumbnail = fields.Binary();

    _records = [
        { id: 1, name: "Boat", status: "dispatched", elapsed: 1, expected: 15 },
        { id: 2, name: "Boat", status: "failed", explanation: "The service is broken." },
        { id: 3, name: "Boat", status: "draft", explanation: "The budget is used up." },
    ];
}

defineMailModels();
defineModels([Request]);

class Owner extends Component {
    static template = xml`<PicturePicker selectedIds="state.ids" select.bind="select"/>`;
    static components = { PicturePicker };
    static props = [];

    setup() {
        this.state = useState({ ids: [] });
    }

    select({ id }) {
        this.state.ids = [id];
        expect.step(`selected ${id}`);
    }
}

function ready(...ids) {
    return ids.map((id) => ({ id, name: `<b>${id}</b>`, is_favorite: id === 11, attachment_id: 100 + id, image_sha256: "ab" }));
}

const OFFER = { shapes: [["1:1", "Square"], ["16:9", "Wide"]], shape: "1:1", price: "0.16 USD" };

async function mountPicker({ pages = () => ({ pictures: ready(11, 12), has_more: false }), offer = () => OFFER } = {}) {
    onRpc("aigen.image.request", "action_follow", () => true);
    onRpc("aigen.image.request", "picker_search", ({ args }) => pages(...args));
    onRpc("aigen.image.request", "picker_offer", ({ args }) => offer(...args));
    await mountWithCleanup(Owner);
}

test("a ready picture is shown with its star and its words, and is chosen", async () => {
    await mountPicker();
    expect(queryAllAttributes(".o_aigen_pick img", "data-src")).toEqual([
        "/web/image/111/512x512?unique=ab",
        "/web/image/112/512x512?unique=ab",
    ]);
    expect(".o_aigen_pick:first").toHaveAttribute("title", "<b>11</b>");
    expect(".o_aigen_pick .fa-star").toHaveCount(1);
    await click(".o_aigen_pick:last");
    await animationFrame();
    expect.verifySteps(["selected 12"]);
    expect(".o_aigen_picked").toHaveCount(1);
    expect(".o_aigen_picked").toHaveAttribute("aria-pressed", "true");
});

test("the words are searched on the server, and an older answer never replaces a newer one", async () => {
    const late = Promise.withResolvers();
    await mountPicker({
        pages: async (needle) => {
            if (needle === "b") {
                await late.promise;
            }
            return { pictures: needle === "bo" ? ready(14) : ready(11, 12), has_more: false };
        },
    });
    for (const words of ["b", "bo"]) {
        await click(".o_aigen_picker_search input");
        await edit(words);
        await advanceTime(300);
    }
    late.resolve();
    await animationFrame();
    expect(queryAllAttributes(".o_aigen_pick", "title")).toEqual(["<b>14</b>"]);
});

test("more pictures are added to those that are shown", async () => {
    await mountPicker({
        pages: (_needle, offset) => ({ pictures: offset ? ready(13) : ready(11, 12), has_more: !offset }),
    });
    await click("button:contains('Show more')");
    await animationFrame();
    expect(".o_aigen_pick").toHaveCount(3);
    expect("button:contains('Show more')").toHaveCount(0);
});

test("new pictures are asked for with Ctrl+Enter, and say how they stand", async () => {
    onRpc("aigen.image.request", "picker_generate", ({ args }) => {
        expect.step(args);
        return [1, 2, 3];
    });
    await mountPicker();
    expect(".o_aigen_ask_button").toHaveText("Generate 4 · about 0.16 USD");
    expect(".o_aigen_ask_button").not.toBeEnabled();
    await click(".o_aigen_ask_prompt");
    await edit("A boat");
    await press(["ctrl", "enter"]);
    await animationFrame();
    expect.verifySteps([["A boat", "1:1", 4]]);
    await animationFrame();
    expect(".o_aigen_pick").toHaveCount(5);
    expect(".o_aigen_pick:eq(0)").toHaveText("Being made");
    expect(".o_aigen_pick:eq(1)").toHaveText(/^Failed\s+The service is broken\.$/);
    expect(".o_aigen_pick:eq(2)").toHaveText(/^Your picture was not accepted\s+The budget is used up\.$/);
});

test("shape and number are sent, and change the price", async () => {
    onRpc("aigen.image.request", "picker_generate", ({ args }) => {
        expect.step(args);
        return [];
    });
    await mountPicker({ offer: (shape, variants) => ({ ...OFFER, shape: shape || "1:1", price: `${variants} USD` }) });
    await click(".o_aigen_ask_settings button:contains('2')");
    await animationFrame();
    expect(".o_aigen_ask_button").toHaveText("Generate 2 · about 2 USD");
    await click(".o_aigen_ask_prompt");
    await edit("A boat");
    await select("16:9", { target: ".o_aigen_ask_settings select" });
    await animationFrame();
    await click(".o_aigen_ask_button");
    await animationFrame();
    expect.verifySteps([["A boat", "16:9", 2]]);
});

test("without a model nothing can be asked for, and ready pictures are still there", async () => {
    await mountPicker({ offer: () => ({ shapes: [], shape: "1:1", price: false }) });
    expect(".o_aigen_ask").toHaveCount(0);
    expect(".o_aigen_picker").toHaveText(/No model is offered at the moment/);
    expect(".o_aigen_pick").toHaveCount(2);
});
