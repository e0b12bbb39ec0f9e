import { Component, onWillDestroy, status, useState } from "@odoo/owl";
import { useFileViewer } from "@web/core/file_viewer/file_viewer_hook";
import { _t } from "@web/core/l10n/translation";
import { ConnectionLostError } from "@web/core/network/rpc";
import { registry } from "@web/core/registry";
import { session } from "@web/session";
import { useService } from "@web/core/utils/hooks";
import { standardFieldProps } from "@web/views/fields/standard_field_props";
import { FileModel } from "@web/core/file_viewer/file_model";
import { useCurrentRecord } from "../current_record";
import { useFollower } from "../follower/follower_service";
import { useSeconds } from "../follower/seconds";
import { STALE, useNews, watched } from "../news";
import { WORD_FIELDS, describe, isHeld, isOpen, steps } from "../words";

const SIDES = /^(\d+)[x:](\d+)$/;

/** Where the picture appears: what to do before, how far it is meanwhile, why it is not there after all. */
export class StageField extends Component {
    static template = "aigen_image.Stage";
    static props = { ...standardFieldProps };

    setup() {
        this.action = useService("action");
        this.orm = useService("orm");
        this.fileViewer = useFileViewer();
        this.state = useState({ loaded: false, broken: false });
        this.time = useSeconds(1000);
        useNews((news) => news.id === this.record.resId && this.reload());
        useFollower({ answered: () => Date.now() - this.readAt > STALE && this.reload() });
        useCurrentRecord((record) => this.start(record));
        onWillDestroy(() => watched.delete(this.watching));
    }

    get record() {
        return this.props.record;
    }

    get data() {
        return this.record.data;
    }

    get isOpen() {
        return isOpen(this.data);
    }

    get isHeld() {
        return isHeld(this.data);
    }

    get words() {
        return describe(this.data, this.time.seconds);
    }

    get steps() {
        return steps(this.data);
    }

    /** While nobody works on it, no time counts. */
    get hasClock() {
        return !this.isHeld && this.data.status !== "waiting";
    }

    get ratio() {
        const [, width, height] = SIDES.exec(this.data.resolution || this.data.shape) || [null, 1, 1];
        return `--aigen-ratio: ${width} / ${height}; --aigen-ratio-number: ${width / height}`;
    }

    get clock() {
        const seconds = Math.max(0, Math.floor(this.time.seconds));
        return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    }

    get attachmentId() {
        const attachment = this.data.attachment_id; // {id} in Odoo 19, [id, name] in 18
        return attachment && (attachment.id ?? attachment[0]);
    }

    get source() {
        const unique = (this.data.image_sha256 || "").slice(0, 16);
        return `/web/image/${this.attachmentId}?unique=${unique}`;
    }

    get download() {
        return `/web/content/${this.attachmentId}?download=true`;
    }

    /** URL of a copy with the visible label, if labels are switched on. */
    get labelled() {
        return session.aigen_label && `/aigen/labelled/${this.record.resId}`;
    }

    start(record) {
        this.readAt = Date.now();
        if (this.watching !== record.resId) {
            watched.delete(this.watching);
            watched.add(record.resId);
            this.watching = record.resId;
            this.isLost = false;
            this.state.loaded = false;
            this.state.broken = false;
        }
    }

    /** A picture that was deleted, or is no longer shared, is read no more: each time there would be another message. */
    async reload() {
        this.readAt = Date.now();
        if (this.record.resId && !this.isLost && !(await this.record.isDirty())) {
            await this.record.load().catch((error) => {
                this.isLost = !(error instanceof ConnectionLostError);
                if (status(this) !== "destroyed") {
                    throw error; // else somebody has left the form meanwhile
                }
            });
        }
    }

    async changeWords() {
        const ids = [this.record.resId];
        await this.action.doAction(await this.orm.call("aigen.image.request", "action_change_words", [ids]));
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
        ...WORD_FIELDS,
        { name: "attachment_id", type: "many2one", relation: "ir.attachment" },
        { name: "image_sha256", type: "char" },
        { name: "image_format", type: "char" },
        { name: "refused", type: "boolean" },
        { name: "replayable", type: "boolean" },
        { name: "name", type: "char" },
        { name: "resolution", type: "char" },
        { name: "shape", type: "selection" },
    ],
};

registry.category("fields").add("aigen_stage", stageField);
