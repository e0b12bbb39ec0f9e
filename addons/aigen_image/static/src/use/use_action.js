import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";

/** Uses the picture, offers to undo it, and goes back to the record that it was chosen for. */
export async function usePicture(record, env) {
    const { action, notification, orm } = env.services;
    const context = record.context;
    const { params } = await orm.call("aigen.image.request", "action_use", [[record.resId]], { context });
    const undo = async () => {
        close();
        await orm.call("aigen.image.use", "action_undo", [[params.use_id]]);
        await action.doAction({ type: "ir.actions.client", tag: "soft_reload" });
    };
    const buttons = params.use_id ? [{ name: _t("Undo"), onClick: undo }] : [];
    const close = notification.add(params.message, { type: params.type, buttons });
    if (context.aigen_target_id) {
        await action.restore();
    }
    return !context.aigen_target_id;
}

registry.category("aigen_image.card_actions").add(
    "use",
    {
        title: _t("Use this picture"),
        icon: "fa-check",
        isShown: ({ data }, context) =>
            data.status === "completed" && Boolean(data.target_name) && !context.aigen_approvals,
        onClick: usePicture,
    },
    { sequence: 5 }
);
