import { onMounted } from "@odoo/owl";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { KanbanController } from "@web/views/kanban/kanban_controller";
import { kanbanView } from "@web/views/kanban/kanban_view";
import { ListController } from "@web/views/list/list_controller";
import { listView } from "@web/views/list/list_view";
import { useLiveReload } from "../news";

const UNDERWAY = ["queued", "dispatched", "received"];
/** Pictures about which the bridge is asked when the gallery is opened: two short calls each. */
const ASKED_MAX = 10;

/** The gallery reads itself again when a picture moves on. Opening it asks how those under way stand. */
export class GalleryController extends KanbanController {
    setup() {
        super.setup();
        this.orm = useService("orm");
        onMounted(() => this.follow());
        useLiveReload(this.model);
    }

    /** The answer is not awaited: what changed comes as news. */
    follow() {
        const underway = (this.model.root.records || []).filter(({ data }) => UNDERWAY.includes(data.status));
        const ids = underway.slice(0, ASKED_MAX).map((record) => record.resId);
        if (ids.length) {
            this.orm.silent.call("aigen.image.request", "action_follow", [ids]);
        }
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
