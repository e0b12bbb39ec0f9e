import { describe, expect, test } from "@odoo/hoot";
import { waitFor } from "@odoo/hoot-dom";
import { advanceTime } from "@odoo/hoot-mock";
import { defineMailModels, openFormView, start, startServer } from "@mail/../tests/mail_test_helpers";
import { defineModels, fields, models, mountView, onRpc, serverState } from "@web/../tests/web_test_helpers";
import { watched } from "@aigen_image/news";

describe.current.tags("desktop");

class Request extends models.Model {
    _name = "aigen.image.request";

    name = fields.Char();
    status = fields.Selection({
        selection: [
            ["draft", "New"],
            ["waiting", "Waiting to be sent"],
            ["queued", "In the queue"],
            ["dispatched", "Being made"],
            ["received", "On its way"],
            ["completed", "Ready"],
            ["failed", "Failed"],
            ["cancelled", "Cancelled"],
        ],
    });
    shape = fields.Selection({ selection: [["16:9", "Wide"]] });
    resolution = fields.Char();
    explanation = fields.Text();
    elapsed = fields.Float();
    expected = fields.Float();
    attachment_id = fields.Many2one({ relation: "ir.attachment" });
    image_sha256 = fields.Char();
    image_format = fields.Char();

    _records = [
        { id: 1, name: "New", status: "draft", shape: "16:9" },
        { id: 2, name: "Made", status: "dispatched", shape: "16:9", elapsed: 65, expected: 60 },
        { id: 3, name: "No", status: "failed", shape: "16:9", explanation: "<b>Because</b>" },
        { id: 4, name: "Wait", status: "waiting", shape: "16:9", explanation: "The bridge is away.", expected: 15 },
        { id: 5, name: "Gone", status: "completed", shape: "16:9" },
    ];
}

defineMailModels();
defineModels([Request]);

const ARCH = `<form><field name="status" widget="aigen_stage"/></form>`;
const mount = (resId) => mountView({ resModel: "aigen.image.request", type: "form", resId, arch: ARCH });

test("a new request says what to do", async () => {
    await mount(1);
    expect(".o_aigen_words").toHaveText(/Your picture appears here/);
});

test("while it is made, the clock goes on from what the server said, and the step is marked", async () => {
    onRpc("aigen.image.request", "action_follow", () => false);
    await mount(2);
    expect(".o_aigen_clock").toHaveText("1:05");
    expect(".o_aigen_now").toHaveText("Being made");
    expect(".o_aigen_done").toHaveCount(2);
    await advanceTime(3000);
    expect(".o_aigen_clock").toHaveText("1:08");
});

test("the bridge is asked at growing distances", async () => {
    onRpc("aigen.image.request", "action_follow", () => {
        expect.step("ask");
        return false;
    });
    await mount(2);
    await advanceTime(2000);
    expect.verifySteps(["ask"]);
    await advanceTime(2000);
    expect.verifySteps([]);
    await advanceTime(3000);
    expect.verifySteps(["ask"]);
});

test("news of the server shows the picture without being asked for", async () => {
    const env = await startServer();
    onRpc("aigen.image.request", "action_follow", () => false);
    await start();
    await openFormView("aigen.image.request", 2, { arch: ARCH });
    expect(".o_aigen_picture").toHaveCount(0);
    const attachment = env["ir.attachment"].create({ name: "made.png" });
    env["aigen.image.request"].write([2], { status: "completed", attachment_id: attachment });
    const [partner] = env["res.partner"].read(serverState.partnerId);
    env["bus.bus"]._sendone(partner, "aigen_image.request/update", { id: 2, status: "completed", name: "Made" });
    await waitFor(".o_aigen_picture");
    expect(".o_aigen_picture").toHaveCount(1);
});

test("words of others are text", async () => {
    await mount(3);
    expect(".o_aigen_words b").toHaveCount(0);
    expect(".o_aigen_words").toHaveText(/<b>Because<\/b>/);
});

test("what waits says why, and a removed file is not an empty frame", async () => {
    onRpc("aigen.image.request", "action_follow", () => false);
    await mount(4);
    expect(".o_aigen_words").toHaveText(/The bridge is away/);
    expect(".o_aigen_words").toHaveText(/sent by itself/);
});

test("a picture whose file was removed says how to get it back", async () => {
    await mount(5);
    expect(".o_aigen_words").toHaveText(/was removed/);
    expect([...watched]).toEqual([5]);
});
