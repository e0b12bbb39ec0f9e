import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";

const MODEL = "aigen.image.request";

async function approve(ids, env) {
    await env.services.orm.call(MODEL, "action_approve", [ids]);
    return true;
}

/** The view reads itself again when the question for the reason is closed. */
async function refuse(ids, env) {
    const question = await env.services.orm.call(MODEL, "action_refuse", [ids]);
    return new Promise((resolve) => env.services.action.doAction(question, { onClose: () => resolve(true) }));
}

const isShownForSelection = (_records, context) => Boolean(context.aigen_approvals);
const isShown = (record, context) => record.data.approval === "asked" && Boolean(context.aigen_approvals);

registry
    .category("aigen_image.selection_actions")
    .add("approve", { title: _t("Approve"), icon: "fa-thumbs-up", isShown: isShownForSelection, onClick: approve }, { sequence: 5 })
    .add("refuse", { title: _t("Refuse"), icon: "fa-thumbs-down", isShown: isShownForSelection, onClick: refuse }, { sequence: 6 });

registry
    .category("aigen_image.card_actions")
    .add(
        "approve",
        { title: _t("Approve"), icon: "fa-thumbs-up", isShown, onClick: (record, env) => approve([record.resId], env) },
        { sequence: 6 }
    )
    .add(
        "refuse",
        { title: _t("Refuse"), icon: "fa-thumbs-down", isShown, onClick: (record, env) => refuse([record.resId], env) },
        { sequence: 7 }
    );
