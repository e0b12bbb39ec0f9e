import { _t } from "@web/core/l10n/translation";
import { CANCEL_GLOBAL_CLICK, KanbanRecord } from "@web/views/kanban/kanban_record";
import { openLightbox } from "../lightbox/lightbox";
import { attachmentId, ratio } from "./picture";
import { cardActions } from "./registries";
import { toggleSelection } from "./selection";

/** Odoo's own growth of cards, which would make rows of pictures with different heights. */
const GROWTH = ["flex-grow-1", "flex-md-shrink-1", "flex-shrink-0"];

/** A picture in the gallery: as wide as its shape says, with a box to select it and with buttons. */
export class GalleryRecord extends KanbanRecord {
    static template = "aigen_image.GalleryRecord";

    get ratio() {
        return `--aigen-ratio: ${ratio(this.props.record.data)}`;
    }

    get actions() {
        const { record } = this.props;
        return cardActions.getEntries().filter(([, action]) => action.isShown(record, record.context));
    }

    get selectLabel() {
        return _t("Select %s", this.props.record.data.name || "");
    }

    getRecordClasses() {
        const classes = super.getRecordClasses().split(" ").filter((name) => !GROWTH.includes(name));
        return [...classes, this.props.record.selected ? "o_aigen_selected" : ""].join(" ");
    }

    /** While something is selected, a click selects. Otherwise it enlarges the picture, or opens the form beside it. */
    onGlobalClick(ev, newWindow) {
        const { forceGlobalClick, record } = this.props;
        if (forceGlobalClick || ev.target.closest(CANCEL_GLOBAL_CLICK)) {
            return super.onGlobalClick(ev, newWindow);
        }
        if (record.model.root.selection.length || ev.altKey) {
            return this.select(ev);
        }
        if (ev.target.matches(".o_aigen_thumb img") && attachmentId(record.data) && !newWindow) {
            return openLightbox(record, this.env);
        }
        return super.onGlobalClick(ev, newWindow);
    }

    /** These keys press what has the focus in the card. The hotkeys of Odoo's view are for the card itself, and would take them. */
    onKeydown(ev) {
        if (ev.target !== ev.currentTarget && ["Enter", " "].includes(ev.key)) {
            ev.stopPropagation();
        }
    }

    select(ev) {
        return toggleSelection(this.props.record, ev.shiftKey);
    }

    /** A second press while the first one is at work does nothing: it would ask for another picture. */
    async run(action) {
        const { record } = this.props;
        if (this.isRunning) {
            return;
        }
        this.isRunning = true;
        try {
            if ((await action.onClick(record, this.env)) === true) {
                await record.model.load();
            }
        } finally {
            this.isRunning = false;
        }
    }
}
