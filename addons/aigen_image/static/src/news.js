import { onWillDestroy } from "@odoo/owl";
import { useService } from "@web/core/utils/hooks";

/** What the server sends when a picture of this person moved on: `{id, status, version, name}`. */
export const NEWS = "aigen_image.request/update";

/** Ids of the pictures that this tab shows at the moment: nobody needs to be told of them. */
export const watched = new Set();

/** Calls back for every piece of news, as long as the component lives. */
export function useNews(callback) {
    const bus = useService("bus_service");
    bus.subscribe(NEWS, callback);
    onWillDestroy(() => bus.unsubscribe(NEWS, callback));
}
