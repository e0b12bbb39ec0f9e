import { browser } from "@web/core/browser/browser";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { NEWS, watched, watchedBatches } from "../news";

const WORDS = {
    completed: { title: _t("Your picture is ready"), type: "success" },
    failed: { title: _t("There is no picture"), type: "warning" },
    draft: { title: _t("Your picture was not accepted"), type: "warning" },
};
/** Milliseconds in which news of pictures that were asked for together are gathered. */
const GATHERED = 1000;

/**
 * Tells a person who is elsewhere in Odoo that a picture is ready, or that there is none. Pictures that were asked for
 * together are told of once, when none is under way any more.
 *
 * Every tab that does not show the picture does it, as with Odoo's own notifications: for up to 15 seconds after the main
 * tab is gone no tab is the main one, and what comes then would be lost.
 */
export const notifierService = {
    dependencies: ["action", "bus_service", "notification", "orm"],

    start(env, { action, bus_service, notification, orm }) {
        const timers = {};

        const tell = (message, words, show) => {
            const close = notification.add(message, {
                ...words,
                autocloseDelay: 10000,
                buttons: [
                    {
                        name: _t("Show"),
                        primary: true,
                        onClick: () => {
                            close();
                            show();
                        },
                    },
                ],
            });
        };

        const showPicture = (id) =>
            action.doAction({
                type: "ir.actions.act_window",
                res_model: "aigen.image.request",
                res_id: id,
                views: [[false, "form"]],
            });

        const showBatch = async (id) => action.doAction(await orm.call("aigen.image.batch", "action_open", [[id]]));

        const tellOfBatch = async (id) => {
            const fields = ["name", "picture_count", "ready_count", "open_count"];
            const [batch] = await orm.silent.read("aigen.image.batch", [id], fields).catch(() => []);
            if (batch && !batch.open_count && !watchedBatches.has(id)) {
                const { ready_count: ready, picture_count: all } = batch;
                const title = _t("%(ready)s of %(all)s pictures are ready", { ready, all });
                tell(batch.name, { title, type: ready ? "success" : "warning" }, () => showBatch(id));
            }
        };

        bus_service.subscribe(NEWS, ({ id, status, name, batch, silent }) => {
            const words = WORDS[status];
            if (!words || silent || watched.has(id) || watchedBatches.has(batch)) {
                return;
            }
            if (batch) {
                browser.clearTimeout(timers[batch]);
                timers[batch] = browser.setTimeout(() => tellOfBatch(batch), GATHERED);
            } else {
                tell(name, words, () => showPicture(id));
            }
        });
        bus_service.start();
    },
};

registry.category("services").add("aigen_image.notifier", notifierService);
