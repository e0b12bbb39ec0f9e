import { describe, expect, test } from "@odoo/hoot";
import { animationFrame } from "@odoo/hoot-mock";
import { defineMailModels } from "@mail/../tests/mail_test_helpers";
import { defineModels, fields, models, mountView, onRpc } from "@web/../tests/web_test_helpers";

describe.current.tags("desktop");

class Request extends models.Model {
    _name = "aigen.image.request";

    log = fields.Json();

    _records = [{ id: 1 }, { id: 2 }];
}

const ENTRIES = [
    { kind: "state", at: "2026-01-31T18:00:00Z", status: "queued" },
    {
        kind: "attempt",
        at: "2026-01-31T18:00:01Z",
        step: "dispatch",
        number: 2,
        outcome: "retry",
        durationMs: 12.4,
        httpStatus: 503,
        detail: "<i>busy</i>",
    },
    { kind: "attempt", at: "2026-01-31T18:00:02Z", step: "dispatch", number: 3, outcome: "held" },
    { kind: "state", at: "2026-01-31T18:05:00Z", status: "dispatched" },
    { kind: "state", at: "2026-01-31T18:06:00Z", status: "queued" },
];

defineMailModels();
defineModels([Request]);

const ARCH = `<form><field name="log" widget="aigen_log" readonly="1"/></form>`;

test("the log is told in words, and refreshed when it is opened", async () => {
    onRpc("aigen.image.request", "action_follow", () => {
        expect.step("ask");
        return false;
    });
    onRpc("aigen.image.request", "web_read", () => [{ id: 1, log: ENTRIES }]); // the mock keeps no JSON
    await mountView({ resModel: "aigen.image.request", type: "form", resId: 1, arch: ARCH });
    await animationFrame();
    expect.verifySteps(["ask"]);
    expect(".o_aigen_log li").toHaveCount(5);
    expect(".o_aigen_log li:eq(0)").toHaveText(/The bridge took it/);
    expect(".o_aigen_log li:eq(1)").toHaveText(/Handing it to N8N/);
    expect(".o_aigen_log li:eq(1)").toHaveText(/try 2 · 12 ms · HTTP 503/);
    expect(".o_aigen_log li:eq(2)").toHaveText(/held until it is back/);
    expect(".o_aigen_log li:eq(4)").toHaveText(/It is sent again/);
    expect(".o_aigen_log i:not(.fa)").toHaveCount(0);
});

test("an empty log says so", async () => {
    onRpc("aigen.image.request", "action_follow", () => false);
    await mountView({ resModel: "aigen.image.request", type: "form", resId: 2, arch: ARCH });
    expect(".o_field_aigen_log").toHaveText(/knows nothing of this request yet/);
});
