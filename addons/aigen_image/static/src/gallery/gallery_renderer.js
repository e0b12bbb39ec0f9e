import { useHotkey } from "@web/core/hotkeys/hotkey_hook";
import { KanbanRenderer } from "@web/views/kanban/kanban_renderer";
import { GalleryRecord } from "./gallery_record";
import { banners } from "./registries";
import { clearSelection, toggleSelection } from "./selection";
import { SelectionBar } from "./selection_bar";

/** The pictures, with what other modules show above them, and with what can be done to the selected ones below. */
export class GalleryRenderer extends KanbanRenderer {
    static template = "aigen_image.GalleryRenderer";
    static components = { ...KanbanRenderer.components, KanbanRecord: GalleryRecord, SelectionBar };

    setup() {
        super.setup();
        useHotkey("escape", () => clearSelection(this.props.list), {
            isAvailable: () => this.props.list.selection.length,
        });
    }

    get banners() {
        const { context } = this.props.list;
        return banners
            .getEntries()
            .filter(([, banner]) => banner.isShown(context))
            .map(([key, { Component, getProps }]) => ({ key, Component, props: getProps(context) }));
    }

    /** A picture that is read again keeps its card, and with it the focus. Odoo would make a new card. */
    getGroupsOrRecords() {
        return super
            .getGroupsOrRecords()
            .map((entry) => (entry.record ? { ...entry, key: entry.record.resId } : entry));
    }

    /** Odoo 19 calls it for the keyboard and long touches. */
    toggleSelection(record, isRange) {
        return toggleSelection(record, isRange);
    }
}
