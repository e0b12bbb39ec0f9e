import { onWillDestroy } from "@odoo/owl";
import { browser } from "@web/core/browser/browser";
import { useService } from "@web/core/utils/hooks";
import { isOpen } from "./words";

/** What the server sends when a picture of this person moved on: `{id, status, version, batch, name, silent}`. */
export const NEWS = "aigen_image.request/update";
/** What it sends to managers when anybody's did: `{id, status, version, batch}`. */
export const MOVED = "aigen_image.request/moved";

/** Milliseconds in which news are gathered before a view reads itself again. */
const GATHERED = 300;
/** Milliseconds between two readings of a view: managers get the news of everybody. */
const APART = 2000;
/** Milliseconds after which a view with something under way reads itself again without news: the bus may be away. */
export const STALE = 5000;
/** Milliseconds until it is tried again while a view cannot read itself. */
const LATER = 1000;

/** Ids of the pictures that this tab shows at the moment: nobody needs to be told of them. */
export const watched = new Set();
/** The same for pictures that were asked for together, by the ids of their batches. */
export const watchedBatches = new Set();

/** Calls back for every piece of news, as long as the component lives. */
export function useNews(callback) {
    const bus = useService("bus_service");
    for (const kind of [NEWS, MOVED]) {
        const listener = (news) => callback(news); // the service knows one kind for each function
        bus.subscribe(kind, listener);
        onWillDestroy(() => bus.unsubscribe(kind, listener));
    }
}

/** Selects in a view that was read again what was selected in it before. */
function select({ records }, selected = []) {
    const ids = new Set(selected.map(({ resId }) => resId));
    for (const record of records) {
        if (ids.has(record.resId)) {
            record.toggleSelection(true);
        }
    }
}

/**
 * A view of many reads itself again when a picture moved on, also one that it does not show yet. Before its first records
 * are there, and while it reads others (somebody has just changed the filter), that would replace what it is reading; while
 * somebody has selected records, it would undo that.
 */
export function useLiveReload(model) {
    let timer;
    let readAt = 0;
    let latest; // of several readings, only the latest one ends
    const load = model.load.bind(model);
    model.load = async (...params) => {
        const own = (latest = {});
        try {
            return await load(...params);
        } finally {
            latest = latest === own ? undefined : latest;
        }
    };
    const reload = async () => {
        const before = model.root;
        const mustWait = !before || latest || before.selection?.length;
        timer = mustWait ? browser.setTimeout(reload, LATER) : undefined;
        if (!mustWait) {
            readAt = Date.now();
            await model.load();
            select(model.root, before.selection); // somebody may have begun to select meanwhile
        }
    };
    useNews(() => (timer ??= browser.setTimeout(reload, Math.max(GATHERED, readAt + APART - Date.now()))));
    const stale = browser.setInterval(() => {
        const isStale = Date.now() - readAt > STALE && !timer && !document.hidden;
        if (isStale && model.root?.records.some(({ data }) => isOpen(data))) {
            reload();
        }
    }, STALE);
    onWillDestroy(() => {
        browser.clearTimeout(timer);
        browser.clearInterval(stale);
    });
}
