import { expect, test } from "@odoo/hoot";
import { registry } from "@web/core/registry";

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

test("only a picture that is ready and has a record is offered", () => {
    const data = { status: "completed", target_name: "Desk lamp" };
    expect(action.isShown({ data })).toBe(true);
    expect(action.isShown({ data: { ...data, status: "failed" } })).toBe(false);
    expect(action.isShown({ data: { ...data, target_name: false } })).toBe(false);
});
