import { Component, onWillDestroy, onWillStart, useState } from "@odoo/owl";
import { browser } from "@web/core/browser/browser";
import { _t } from "@web/core/l10n/translation";
import { useService } from "@web/core/utils/hooks";
import { useDebounced } from "@web/core/utils/timing";
import { banners } from "../gallery/registries";
import { STALE, useNews, watchedBatches } from "../news";

const FIELDS = ["name", "prompt", "picture_count", "ready_count", "open_count", "failed_count", "cost"];
/** Milliseconds in which news are gathered. */
const GATHERED = 300;

/** Above the pictures that were asked for together: what for, how far they are, and what can be done with all of them. */
export class BatchBanner extends Component {
    static template = "aigen_image.BatchBanner";
    static props = { batchId: Number };

    setup() {
        this.action = useService("action");
        this.orm = useService("orm");
        this.state = useState({ batch: null });
        const read = useDebounced(() => this.read(), GATHERED);
        useNews(({ batch }) => batch === this.props.batchId && read());
        onWillStart(() => this.read());
        const stale = browser.setInterval(() => this.isUnfinished && read(), STALE);
        watchedBatches.add(this.props.batchId);
        onWillDestroy(() => {
            browser.clearInterval(stale);
            watchedBatches.delete(this.props.batchId);
        });
    }

    /** Without news of the bus, it reads itself again while something can still change. */
    get isUnfinished() {
        return !document.hidden && Boolean(this.state.batch?.open_count || this.state.batch?.failed_count);
    }

    /** Whoever may not see the batch sees its pictures without a banner. One that cannot be read for a moment stays. */
    async read() {
        const ids = [this.props.batchId];
        const [batch] = await this.orm.silent.read("aigen.image.batch", ids, FIELDS).catch(() => [this.state.batch]);
        this.state.batch = batch;
    }

    get summary() {
        const { ready_count, picture_count, cost } = this.state.batch;
        const ready = _t("%(ready)s of %(all)s ready", { ready: ready_count, all: picture_count });
        return cost ? `${ready} · ${cost}` : `${ready}`;
    }

    async run(method) {
        const next = await this.orm.call("aigen.image.batch", method, [[this.props.batchId]]);
        await (next ? this.action.doAction(next) : this.read());
    }
}

banners.add("batch", {
    Component: BatchBanner,
    isShown: ({ aigen_batch_id }) => Boolean(aigen_batch_id),
    getProps: ({ aigen_batch_id }) => ({ batchId: aigen_batch_id }),
});
