import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { NEWS, watched } from "../news";

const WORDS = {
    completed: { title: _t("Your picture is ready"), type: "success" },
    failed: { title: _t("There is no picture"), type: "warning" },
    draft: { title: _t("Your picture was not accepted"), type: "warning" },
};

/**
 * Tells a person who is elsewhere in Odoo that a picture is ready, or that there is none. Every tab that does not show
 * the picture does it, as with Odoo's own notifications: for up to 15 seconds after the main tab is gone no tab is the
 * main one, and what comes then would be lost.
 */
export const notifierService = {
    dependencies: ["action", "bus_service", "notification"],

    start(env, { action, bus_service, notification }) {
        const show = (id) =>
            action.doAction({
                type: "ir.actions.act_window",
                res_model: "aigen.image.request",
                res_id: id,
                views: [[false, "form"]],
            });
        bus_service.subscribe(NEWS, ({ id, status, name, silent }) => {
            const words = WORDS[status];
            if (!words || silent || watched.has(id)) {
                return;
            }
            const close = notification.add(name, {
                ...words,
                autocloseDelay: 10000,
                buttons: [
                    {
                        name: _t("Show"),
                        primary: true,
                        onClick: () => {
                            close();
                            show(id);
                        },
                    },
                ],
            });
        });
        bus_service.start();
    },
};

registry.category("services").add("aigen_image.notifier", notifierService);
