import { registry } from "@web/core/registry";
import { KanbanController } from "@web/views/kanban/kanban_controller";
import { kanbanView } from "@web/views/kanban/kanban_view";
import { ListController } from "@web/views/list/list_controller";
import { listView } from "@web/views/list/list_view";
import { useLiveReload } from "../news";

/** The gallery reads itself again when a picture moves on. */
export class GalleryController extends KanbanController {
    setup() {
        super.setup();
        useLiveReload(this.model);
    }
}

/** The list reads itself again, too. */
export class PicturesController extends ListController {
    setup() {
        super.setup();
        useLiveReload(this.model);
    }
}

registry.category("views").add("aigen_list", { ...listView, Controller: PicturesController });
registry.category("views").add("aigen_gallery", { ...kanbanView, Controller: GalleryController });
