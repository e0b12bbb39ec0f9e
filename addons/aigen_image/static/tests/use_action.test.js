import { describe, expect, test } from "@odoo/hoot";
import { click } from "@odoo/hoot-dom";
import { animationFrame } from "@odoo/hoot-mock";
import { defineMailModels } from "@mail/../tests/mail_test_helpers";
import { mockService, mountWithCleanup, onRpc } from "@web/../tests/web_test_helpers";
import { registry } from "@web/core/registry";

describe.current.tags("desktop");
defineMailModels();

const action = registry.category("aigen_image.card_actions").get("use");

/** Services that note what they were told, and answer with this message. */
function fakeEnv(params) {
    const steps = [];
    const shown = [];
    const services = {
        action: {
            doAction: (wanted) => steps.push(wanted.tag),
            restore: () => steps.push("restore"),
        },
        notification: {
            add(message, options) {
                shown.push({ message, ...options });
                return () => steps.push("closed");
            },
        },
        orm: {
            async call(model, method, [ids], how) {
                steps.push(`${model} ${method} ${ids} ${JSON.stringify(how?.context ?? {})}`);
                return { params };
            },
        },
    };
    return { env: { services }, shown, steps };
}

test("a picture is used for the record that it is chosen for, and the record is shown again", async () => {
    const { env, shown, steps } = fakeEnv({ message: "Used.", type: "success", use_id: 7 });
    const context = { aigen_target_model: "product.template", aigen_target_id: 5 };
    expect(await action.onClick({ resId: 3, context }, env)).toBe(false);
    expect(steps).toEqual([`aigen.image.request action_use 3 ${JSON.stringify(context)}`, "restore"]);
    expect(shown[0].message).toBe("Used.");
    steps.length = 0;
    await shown[0].buttons[0].onClick();
    expect(steps).toEqual(["closed", "aigen.image.use action_undo 7 {}", "soft_reload"]);
});

test("what waits for approval is not undone; the gallery of what was made for a record reads itself again", async () => {
    const { env, shown, steps } = fakeEnv({ message: "Asked.", type: "info", use_id: false });
    expect(await action.onClick({ resId: 3, context: {} }, env)).toBe(true);
    expect(shown[0].buttons).toEqual([]);
    expect(steps).toEqual(["aigen.image.request action_use 3 {}"]);
});

test("only a picture that is ready and has a record is offered, and not to those who look for what to approve", () => {
    const data = { status: "completed", target_name: "Desk lamp" };
    expect(action.isShown({ data }, {})).toBe(true);
    expect(action.isShown({ data: { ...data, status: "failed" } }, {})).toBe(false);
    expect(action.isShown({ data: { ...data, target_name: false } }, {})).toBe(false);
    expect(action.isShown({ data }, { aigen_approvals: true })).toBe(false);
});

test("the banner says for which record a picture is chosen, and has another one made", async () => {
    const context = { aigen_target_model: "product.template", aigen_target_id: 5, aigen_target_name: "<b>Desk lamp</b>" };
    const banner = registry.category("aigen_image.gallery_banner").get("target");
    expect(banner.isShown({})).toBe(false);
    expect(banner.isShown(context)).toBe(true);
    mockService("action", { doAction: (wanted) => expect.step(wanted) });
    onRpc("product.template", "action_make_picture", ({ args }) => {
        expect.step(args[0]);
        return "the form";
    });
    await mountWithCleanup(banner.Component, { props: banner.getProps(context) });
    expect(".o_aigen_target_banner b").toHaveText("<b>Desk lamp</b>");
    await click("button:contains('Make a picture')");
    await animationFrame();
    expect.verifySteps([[5], "the form"]);
});

test("approvers decide where pictures wait for them", async () => {
    const { env, steps } = fakeEnv({});
    const actions = registry.category("aigen_image.card_actions");
    const [approve, refuse] = [actions.get("approve"), actions.get("refuse")];
    const record = { resId: 3, data: { approval: "asked" } };
    for (const { isShown } of [approve, refuse]) {
        expect(isShown(record, { aigen_approvals: true })).toBe(true);
        expect(isShown(record, {})).toBe(false);
        expect(isShown({ data: { approval: "approved" } }, { aigen_approvals: true })).toBe(false);
    }
    expect(await approve.onClick(record, env)).toBe(true);
    env.services.action.doAction = (_question, { onClose }) => onClose();
    expect(await refuse.onClick(record, env)).toBe(true);
    expect(steps).toEqual(["aigen.image.request action_approve 3 {}", "aigen.image.request action_refuse 3 {}"]);
});
