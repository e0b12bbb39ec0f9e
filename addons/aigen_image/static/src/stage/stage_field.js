import { Component, onMounted, onWillDestroy, useState } from "@odoo/owl";
import { browser } from "@web/core/browser/browser";
import { useFileViewer } from "@web/core/file_viewer/file_viewer_hook";
import { formatDateTime } from "@web/core/l10n/dates";
import { localization } from "@web/core/l10n/localization";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { useRecordObserver } from "@web/model/relational_model/utils";
import { standardFieldProps } from "@web/views/fields/standard_field_props";
import { FileModel } from "@web/core/file_viewer/file_model";
import { useNews, watched } from "../news";

const { DateTime } = luxon;

/** The way of a request, step by step, as a person reads it. */
const STEPS = [
    { status: "waiting", label: _t("Sending") },
    { status: "queued", label: _t("In the queue") },
    { status: "dispatched", label: _t("Being made") },
    { status: "received", label: _t("On its way") },
];
/** Seconds between two questions how it stands. The end is told by the server; these are for the steps before. */
const ASK_AFTER = [2, 3, 4, 6, 8, 10];
const SIDES = /^(\d+)[x:](\d+)$/;

/** Where the picture appears: what to do before, how far it is meanwhile, why it is not there after all. */
export class StageField extends Component {
    static template = "aigen_image.Stage";
    static props = { ...standardFieldProps };

    setup() {
        this.action = useService("action");
        this.orm = useService("orm");
        this.fileViewer = useFileViewer();
        this.state = useState({ seconds: 0, loaded: false, broken: false });
        this.asked = 0;
        useNews((news) => news.id === this.record.resId && this.reload());
        useRecordObserver((record) => this.start(record));
        onMounted(() => (this.timer = browser.setInterval(() => this.tick(), 1000)));
        onWillDestroy(() => {
            browser.clearInterval(this.timer);
            watched.delete(this.watching);
        });
    }

    get record() {
        return this.props.record;
    }

    get data() {
        return this.record.data;
    }

    get steps() {
        const at = STEPS.findIndex((step) => step.status === this.data.status);
        return STEPS.map((step, index) => ({
            ...step,
            label: index === at && this.isAgain ? _t("In the queue again") : step.label,
            done: index < at,
            now: index === at,
        }));
    }

    /** It entered the queue before: version 1 is the first time. */
    get isAgain() {
        return this.data.status === "queued" && this.data.version > 1;
    }

    get isOpen() {
        return STEPS.some((step) => step.status === this.data.status);
    }

    get isWaiting() {
        return this.data.status === "waiting" && Boolean(this.data.explanation);
    }

    /** The bridge keeps it until the image service is back. The status stays what it was. */
    get isHeld() {
        return this.isOpen && Boolean(this.data.held_since);
    }

    get heldSince() {
        const since = this.data.held_since;
        const today = since.hasSame(DateTime.now(), "day");
        const format = today ? { format: localization.shortTimeFormat } : { showSeconds: false };
        return _t("waiting since %s", formatDateTime(since, format));
    }

    get ratio() {
        const [, width, height] = SIDES.exec(this.data.resolution || this.data.shape) || [null, 1, 1];
        return `--aigen-ratio: ${width} / ${height}; --aigen-ratio-number: ${width / height}`;
    }

    /** Approaches the end without pretending to reach it: half of the usual time is about half of the way. */
    get percent() {
        if (this.data.status === "waiting") {
            return 0; // nobody has begun
        }
        const share = this.state.seconds / Math.max(this.data.expected || 0, 1);
        return Math.round(Math.min(95, 100 * (1 - Math.exp(-1.3 * share))));
    }

    get clock() {
        const seconds = Math.max(0, Math.floor(this.state.seconds));
        return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    }

    get usual() {
        return _t("usually %s s", Math.max(1, Math.round(this.data.expected || 0)));
    }

    get attachmentId() {
        return this.data.attachment_id && this.data.attachment_id[0];
    }

    get source() {
        const unique = (this.data.image_sha256 || "").slice(0, 16);
        return `/web/image/${this.attachmentId}?unique=${unique}`;
    }

    get download() {
        return `/web/content/${this.attachmentId}?download=true`;
    }

    /** Counts on from what the server said: the browser's clock may be wrong. */
    start(record) {
        this.since = Date.now() / 1000 - (record.data.elapsed || 0);
        this.state.seconds = record.data.elapsed || 0;
        if (this.watching !== record.resId) {
            watched.delete(this.watching);
            watched.add(record.resId);
            this.watching = record.resId;
            this.asked = 0;
            this.state.loaded = false;
            this.state.broken = false;
            this.plan();
        }
    }

    plan() {
        const wait = ASK_AFTER[Math.min(this.asked, ASK_AFTER.length - 1)];
        this.askAt = Date.now() / 1000 + wait;
    }

    tick() {
        if (!this.isOpen) {
            return;
        }
        const now = Date.now() / 1000;
        this.state.seconds = now - this.since;
        if (now >= this.askAt && !document.hidden) {
            this.asked++;
            this.plan();
            this.ask();
        }
    }

    async ask() {
        await this.orm.silent.call("aigen.image.request", "action_follow", [[this.record.resId]]);
        await this.reload();
    }

    async reload() {
        if (this.record.resId && !(await this.record.isDirty())) {
            await this.record.load();
        }
    }

    async changeWords() {
        const ids = [this.record.resId];
        await this.action.doAction(await this.orm.call("aigen.image.request", "action_change_words", [ids]));
        document.querySelector(".o_aigen_form [name=prompt] textarea")?.focus();
    }

    enlarge() {
        const file = Object.assign(new FileModel(), {
            id: this.attachmentId,
            name: this.data.name,
            mimetype: `image/${this.data.image_format || "png"}`,
        });
        this.fileViewer.open(file);
    }
}

export const stageField = {
    component: StageField,
    displayName: _t("Picture and its progress"),
    supportedTypes: ["selection"],
    isEmpty: () => false,
    fieldDependencies: [
        { name: "attachment_id", type: "many2one", relation: "ir.attachment" },
        { name: "image_sha256", type: "char" },
        { name: "image_format", type: "char" },
        { name: "explanation", type: "char" },
        { name: "refused", type: "boolean" },
        { name: "held_since", type: "datetime" },
        { name: "version", type: "integer" },
        { name: "elapsed", type: "float" },
        { name: "expected", type: "float" },
        { name: "name", type: "char" },
        { name: "resolution", type: "char" },
        { name: "shape", type: "selection" },
    ],
};

registry.category("fields").add("aigen_stage", stageField);
