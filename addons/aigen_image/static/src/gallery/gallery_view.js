import { registry } from "@web/core/registry";
import { KanbanController } from "@web/views/kanban/kanban_controller";
import { kanbanView } from "@web/views/kanban/kanban_view";
import { useLiveReload } from "../news";
import { GalleryRenderer } from "./gallery_renderer";
import { deletePictures } from "./selection_actions";

/** The gallery reads itself again when a picture moves on. */
export class GalleryController extends KanbanController {
    setup() {
        super.setup();
        useLiveReload(this.model);
    }

    /** Odoo 19 would show its own bar for selected records, beside that of the gallery. */
    get hasSelectedRecords() {
        return false;
    }

    async deleteRecord(record) {
        if (await deletePictures([record.resId], this.env)) {
            await this.model.load();
        }
    }
}

registry
    .category("views")
    .add("aigen_gallery", { ...kanbanView, Controller: GalleryController, Renderer: GalleryRenderer });
