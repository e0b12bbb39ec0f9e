import { onMounted, onWillDestroy, useState } from "@odoo/owl";
import { browser } from "@web/core/browser/browser";
import { useCurrentRecord } from "../current_record";
import { isOpen } from "../words";

/**
 * How long the picture of this component's record has taken: as the server said, and on from there, because the browser's
 * clock may be wrong. `seconds` changes so often, in milliseconds.
 */
export function useSeconds(every) {
    const state = useState({ seconds: 0 });
    let timer;
    let since = 0;
    let open = false;
    useCurrentRecord(({ data }) => {
        open = isOpen(data);
        state.seconds = data.elapsed || 0;
        since = Date.now() / 1000 - state.seconds;
    });
    const tick = () => {
        if (open) {
            state.seconds = Date.now() / 1000 - since;
        }
    };
    onMounted(() => (timer = browser.setInterval(tick, every)));
    onWillDestroy(() => browser.clearInterval(timer));
    return state;
}
