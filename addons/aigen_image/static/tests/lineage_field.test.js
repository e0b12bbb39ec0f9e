import { describe, expect, test } from "@odoo/hoot";
import { contains, defineModels, fields, mockService, models, mountView, onRpc } from "@web/../tests/web_test_helpers";
import { defineMailModels } from "@mail/../tests/mail_test_helpers";

describe.current.tags("desktop");

class Request extends models.Model {
    _name = "aigen.image.request";

    lineage = fields.Json();

    _records = [{ id: 1 }];
}

defineMailModels();
defineModels([Request]);

async function mount(lineage) {
    onRpc("aigen.image.request", "web_read", () => [{ id: 1, lineage }]); // the mock keeps no JSON
    mockService("action", { doAction: ({ res_id }) => expect.step(res_id) });
    const arch = `<form><field name="lineage" widget="aigen_lineage"/></form>`;
    await mountView({ resModel: "aigen.image.request", type: "form", resId: 1, arch });
}

test("what it was made from and what was made from it is shown, and opens", async () => {
    const children = [
        { id: 8, name: "<b>Kite</b>", status: "completed", source: "/web/image/3" },
        { id: 9, name: "Kite", status: "queued", source: null },
    ];
    await mount({ parent: { id: 7, name: "Boat", status: "completed", source: "/web/image/2" }, children, more: 4 });
    expect(".o_aigen_children img").toHaveCount(1);
    expect(".o_aigen_children .o_aigen_relative:first").toHaveAttribute("aria-label", "<b>Kite</b>");
    expect(".o_aigen_children").toHaveText(/and 4 more/);
    await contains(".o_aigen_parent button").click();
    await contains(".o_aigen_children button:last").click();
    expect.verifySteps([7, 9]);
});

test("a parent that the person may not see has no words and opens nothing", async () => {
    await mount({ parent: {}, children: [], more: 0 });
    expect(".o_aigen_parent").toHaveText(/Made from\s*another picture/);
    expect(".o_aigen_lineage button").toHaveCount(0);
});

test("a picture without relatives shows nothing", async () => {
    await mount(false);
    expect(".o_aigen_lineage").toHaveText("");
});
