import { onWillDestroy } from "@odoo/owl";
import { browser } from "@web/core/browser/browser";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { useCurrentRecord } from "../current_record";
import { MOVED, NEWS } from "../news";
import { isOpen } from "../words";

/** Milliseconds between two questions. */
const USUAL = 2000;
/** The same when nothing has changed for `QUIET`. */
const SLOW = 10_000;
const QUIET = 180_000;
/** The most while Odoo or the bridge is away. */
const AWAY = 30_000;

/**
 * Has the bridge asked how the pictures stand that this tab shows: one question about all of them, while the tab is
 * visible and at least one is under way. What changed comes as news.
 */
export const followerService = {
    dependencies: ["bus_service", "orm"],

    start(env, { bus_service, orm }) {
        const followed = new Map();
        let timer;
        let askedAt = 0;
        let changedAt = 0;
        let failures = 0;
        let isAsking = false;

        const idsOf = (views) => [...new Set(views.map((view) => view.id))].sort((one, other) => one - other);

        const pause = () => {
            if (failures) {
                return Math.min(USUAL * 2 ** failures, AWAY);
            }
            return Date.now() - changedAt > QUIET ? SLOW : USUAL;
        };

        const plan = () => {
            browser.clearTimeout(timer);
            timer = undefined;
            if (followed.size && !isAsking && !document.hidden) {
                timer = browser.setTimeout(ask, Math.max(0, askedAt + pause() - Date.now()));
            }
        };

        const ask = async () => {
            isAsking = true;
            const views = [...followed.values()];
            const logs = idsOf(views.filter((view) => view.log));
            let isReached = false;
            try {
                const asked = [idsOf(views)];
                isReached = (await orm.silent.call("aigen.image.request", "action_follow", asked, { log_ids: logs })) !== false;
            } catch {
                // Odoo is away, or refuses: asked again later
            }
            failures = isReached ? 0 : failures + 1;
            askedAt = Date.now();
            isAsking = false;
            plan();
            for (const { answered } of views) {
                answered?.();
            }
        };

        const change = () => {
            changedAt = Date.now();
            plan();
        };

        for (const kind of [NEWS, MOVED]) {
            bus_service.subscribe(kind, ({ id }) => {
                if ([...followed.values()].some((view) => view.id === id)) {
                    change();
                }
            });
        }
        document.addEventListener("visibilitychange", plan);

        return {
            /** Follow a picture for a view: `{id, log, answered}`. `log`: it shows the log, too. */
            follow(view, picture) {
                const isNew = followed.get(view)?.id !== picture.id;
                followed.set(view, picture);
                if (isNew) {
                    change();
                }
            },
            leave(view) {
                if (followed.delete(view)) {
                    plan();
                }
            },
        };
    },
};

registry.category("services").add("aigen_image.follower", followerService);

/** Has the record of this component followed as long as it is open. `options`: as for `follow`. */
export function useFollower(options = {}) {
    const follower = useService("aigen_image.follower");
    const view = {};
    useCurrentRecord(({ resId, data }) => {
        if (resId && isOpen(data)) {
            follower.follow(view, { id: resId, ...options });
        } else {
            follower.leave(view);
        }
    });
    onWillDestroy(() => follower.leave(view));
}
