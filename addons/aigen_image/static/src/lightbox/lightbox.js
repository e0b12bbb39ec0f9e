import { useState } from "@odoo/owl";
import { FileModel } from "@web/core/file_viewer/file_model";
import { FileViewer } from "@web/core/file_viewer/file_viewer";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { toggleFavorite } from "../favorite/favorite_field";
import { attachmentId, unique, withPicture } from "../gallery/picture";

const KEY = "aigen_image.lightbox";
/** Icons by mark. All others have `fa-certificate`. */
const ICONS = { service_invalid: "fa-exclamation-triangle", unmarked: "fa-circle-o", unexamined: "fa-question-circle-o" };
const STARS = [1, 2, 3, 4, 5];
/** Pixels that a finger moves to turn to the next picture. */
const SWIPE = 50;

class Picture extends FileModel {
    constructor({ resId, data }) {
        super();
        const mimetype = `image/${data.image_format || "png"}`;
        Object.assign(this, { id: attachmentId(data), checksum: unique(data), name: data.name, mimetype, resId });
    }
}

/** A picture as large as the window, and the next ones of the view. Keys: arrows turn, F: favourite, 1 to 5: rate. */
export class Lightbox extends FileViewer {
    static template = "aigen_image.Lightbox";
    static props = [...FileViewer.props, "model", "open"];

    setup() {
        super.setup();
        this.orm = useService("orm");
        this.model = useState(this.props.model);
        this.stars = STARS;
    }

    /** The record of the picture, as the view has it now. It may have left the view meanwhile. */
    get record() {
        return this.model.root.records.find(({ resId }) => resId === this.state.file.resId);
    }

    /** The rating, or nothing where it is not for this person. */
    get rating() {
        return this.record?.data.may_write ? Number(this.record.data.rating || 0) : undefined;
    }

    /** The picture's mark as text and icon. */
    get mark() {
        const { data, fields } = this.record || {};
        const option = data?.mark && fields.mark.selection.find(([value]) => value === data.mark);
        return option && { text: option[1], icon: ICONS[data.mark] || "fa-certificate" };
    }

    onKeydown(ev) {
        if (ev.key === "f") {
            this.toggleFavorite();
        } else if (STARS.includes(Number(ev.key))) {
            this.rate(Number(ev.key));
        } else {
            super.onKeydown(ev);
        }
    }

    onTouchStart({ touches: [touch] }) {
        this.touchedAt = touch.clientX;
    }

    onTouchEnd({ changedTouches: [touch] }) {
        const moved = touch.clientX - this.touchedAt;
        if (this.state.scale === 1 && Math.abs(moved) > SWIPE) {
            moved < 0 ? this.next() : this.previous();
        }
    }

    async toggleFavorite() {
        if (this.record) {
            await toggleFavorite(this.orm, this.record);
        }
    }

    /** The same rating again takes it back. */
    async rate(star) {
        if (this.rating !== undefined) {
            const rating = star === this.rating ? "0" : String(star);
            await this.record.update({ rating }, { save: true });
        }
    }

    open() {
        this.close();
        this.props.open(this.state.file.resId);
    }
}

/** Enlarges the picture of a record of a view; the arrow keys go through all that the view has loaded. */
export function openLightbox(record, { services }) {
    const { model } = record;
    const records = withPicture(model.root.records);
    const components = registry.category("main_components");
    const opener = document.activeElement;
    const close = () => {
        components.remove(KEY);
        opener?.focus({ preventScroll: true });
    };
    const open = (resId) =>
        services.action.doAction({
            type: "ir.actions.act_window",
            res_model: "aigen.image.request",
            res_id: resId,
            views: [[false, "form"]],
        });
    const startIndex = records.findIndex(({ resId }) => resId === record.resId);
    const files = records.map((one) => new Picture(one));
    components.add(KEY, { Component: Lightbox, props: { files, startIndex, close, model, open } }, { force: true });
}
