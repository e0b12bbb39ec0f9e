import { useDebounced } from "@web/core/utils/timing";
import { registry } from "@web/core/registry";
import { KanbanController } from "@web/views/kanban/kanban_controller";
import { kanbanView } from "@web/views/kanban/kanban_view";
import { useNews } from "../news";

/** The gallery reads itself again when a picture arrives. */
export class GalleryController extends KanbanController {
    setup() {
        super.setup();
        const reload = useDebounced(() => this.model.load(), 300);
        useNews(({ id }) => {
            const shown = this.model.root.records || [];
            if (shown.some((record) => record.resId === id) || this.model.root.isGrouped) {
                reload();
            }
        });
    }
}

registry.category("views").add("aigen_gallery", { ...kanbanView, Controller: GalleryController });
