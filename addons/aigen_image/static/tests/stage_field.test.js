import { describe, expect, test } from "@odoo/hoot";
import { waitFor } from "@odoo/hoot-dom";
import { advanceTime, mockDate, mockTimeZone } from "@odoo/hoot-mock";
import { defineMailModels, openFormView, start, startServer } from "@mail/../tests/mail_test_helpers";
import {
    MockServer,
    contains,
    defineModels,
    fields,
    makeServerError,
    models,
    mountView,
    onRpc,
    patchWithCleanup,
    serverState,
} from "@web/../tests/web_test_helpers";
import { session } from "@web/session";
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
    explanation = fields.Char();
    refused = fields.Boolean();
    replayable = fields.Boolean();
    version = fields.Integer();
    held_since = fields.Datetime();
    progress = fields.Json();
    resent = fields.Integer();
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
        { id: 6, name: "Held", status: "queued", shape: "16:9", version: 1, held_since: "2026-01-31 13:03:00" },
        { id: 8, name: "Policy", status: "failed", shape: "16:9", explanation: "Flagged.", refused: true },
        { id: 7, name: "Lost", status: "queued", shape: "16:9", version: 3, elapsed: 2, expected: 15 },
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

test("while the image service is away, it says so and since when, and nothing pretends to go on", async () => {
    mockTimeZone(+1);
    mockDate("2026-01-31 14:20:00");
    onRpc("aigen.image.request", "action_follow", () => {
        expect.step("ask");
        return true;
    });
    await mount(6);
    expect(".o_aigen_headline").toHaveText("The image service is away since 14:03.");
    expect(".o_aigen_detail").toHaveText("Your picture will come.");
    expect(".o_aigen_detail > span").toHaveAttribute("aria-hidden", "true"); // it is said by the status
    expect(".o_aigen_words [role=status]").toHaveText(
        "The image service is away since 14:03. Your picture will come."
    );
    expect(".o_aigen_now").toHaveText("In the queue");
    expect(".progress, .o_aigen_clock").toHaveCount(0);
    expect(".o_aigen_stage").toHaveAttribute("data-held");
    await advanceTime(0);
    expect.verifySteps(["ask"]);
});

test("a hold that began on another day says on which", async () => {
    mockTimeZone(+1);
    mockDate("2026-02-01 08:00:00");
    onRpc("aigen.image.request", "action_follow", () => true);
    await mount(6);
    expect(".o_aigen_headline").toHaveText("The image service is away since 01/31/2026 14:03.");
});

test("without news, a form reads itself again after five seconds", async () => {
    onRpc("aigen.image.request", "action_follow", () => {
        MockServer.env["aigen.image.request"].write([6], { held_since: false, status: "dispatched", version: 2, elapsed: 65 });
        return true;
    });
    await mount(6);
    for (let second = 0; second < 7; second++) {
        await advanceTime(1000);
    }
    expect(".o_aigen_now").toHaveText("Being made");
    expect(".o_aigen_clock").toHaveText(/^1:\d\d$/);
    expect(".progress").toHaveCount(1);
    expect(".o_aigen_stage").not.toHaveAttribute("data-held");
});

test("a picture that may not be read any more says so once", async () => {
    expect.errors(1);
    onRpc("aigen.image.request", "action_follow", () => true);
    await mount(2);
    onRpc("aigen.image.request", "web_read", () => {
        expect.step("read");
        throw makeServerError({ type: "AccessError", message: "It is not shared with you." });
    });
    await advanceTime(7000);
    await advanceTime(15_000);
    expect.verifySteps(["read"]);
    expect.verifyErrors([/RPC_ERROR/]);
});

test("a changed percent is shown, and not said aloud", async () => {
    onRpc("aigen.image.request", "action_follow", () => true);
    onRpc("aigen.image.request", "web_read", () => [
        { id: 2, status: "dispatched", shape: "16:9", elapsed: 5, expected: 60, progress: { stage: "generating", percent: 42 } },
    ]); // the mock keeps no JSON
    await mount(2);
    expect(".o_aigen_headline").toHaveText(/Being made · 42\s%/);
    expect(".o_aigen_headline").toHaveAttribute("aria-hidden", "true");
    expect(".o_aigen_words [role=status]").toHaveText("Being made");
    expect(".o_aigen_words [role=progressbar]").toHaveAttribute("aria-valuenow", "42");
});

test("what was sent again is in the queue again", async () => {
    onRpc("aigen.image.request", "action_follow", () => false);
    await mount(7);
    expect(".o_aigen_now").toHaveText("In the queue again");
    expect(".o_aigen_done").toHaveCount(1);
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

test("new bytes of the same picture are shown, and a labelled copy is offered if labels are switched on", async () => {
    const env = await startServer();
    const attachment_id = env["ir.attachment"].create({ name: "made.png" });
    env["aigen.image.request"].write([5], { attachment_id, image_sha256: "a".repeat(64) });
    await start();
    await openFormView("aigen.image.request", 5, { arch: ARCH });
    expect(".o_aigen_tools a").toHaveCount(1);
    patchWithCleanup(session, { aigen_label: true });
    env["aigen.image.request"].write([5], { image_sha256: "b".repeat(64) });
    const [partner] = env["res.partner"].read(serverState.partnerId);
    const news = { id: 5, status: "completed", name: "Gone", silent: true };
    env["bus.bus"]._sendone(partner, "aigen_image.request/update", news);
    await waitFor(`.o_aigen_picture[data-src*="${"b".repeat(16)}"], .o_aigen_picture[src*="${"b".repeat(16)}"]`);
    expect(".o_aigen_tools a:last").toHaveAttribute("href", "/aigen/labelled/5");
    expect(".o_notification").toHaveCount(0);
});

test("words of others are text", async () => {
    await mount(3);
    expect(".o_aigen_words b").toHaveCount(0);
    expect(".o_aigen_words").toHaveText(/<b>Because<\/b>/);
});

test("what the content policy refused is offered to be said in other words, and not again", async () => {
    onRpc("aigen.image.request", "action_change_words", ({ args }) => {
        expect.step(`change the words of ${args[0]}`);
        return { type: "ir.actions.act_window_close" };
    });
    await mount(8);
    expect(".o_aigen_words").toHaveText(/Flagged\.\s+The content policy/);
    expect(".o_aigen_words").not.toHaveText(/same settings/);
    await contains(".o_aigen_words button").click();
    expect.verifySteps(["change the words of 8"]);
    await mount(3);
    expect(".o_aigen_stage:last button").toHaveCount(0);
});

test("what waits says why, and a removed file is not an empty frame", async () => {
    onRpc("aigen.image.request", "action_follow", () => false);
    await mount(4);
    expect(".o_aigen_words").toHaveText(/The bridge is away/);
    expect(".o_aigen_detail").toHaveText(/sent by itself/);
});

test("a picture whose file was removed says how to get it back", async () => {
    await mount(5);
    expect(".o_aigen_words").toHaveText(/was removed/);
    expect([...watched]).toEqual([5]);
});
