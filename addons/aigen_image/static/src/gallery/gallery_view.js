import { onMounted } from "@odoo/owl";
import { useDebounced } from "@web/core/utils/timing";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { KanbanController } from "@web/views/kanban/kanban_controller";
import { kanbanView } from "@web/views/kanban/kanban_view";
import { useNews } from "../news";

const UNDERWAY = ["queued", "dispatched", "received"];
/** Pictures about which the bridge is asked when the gallery is opened: two short calls each. */
const ASKED_MAX = 10;

/** The gallery reads itself again when a picture arrives. Opening it asks how those under way stand. */
export class GalleryController extends KanbanController {
    setup() {
        super.setup();
        this.orm = useService("orm");
        onMounted(() => this.follow());
        const reload = useDebounced(() => this.model.load(), 300);
        useNews(({ id }) => {
            const shown = this.model.root.records || [];
            if (shown.some((record) => record.resId === id) || this.model.root.isGrouped) {
                reload();
            }
        });
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

registry.category("views").add("aigen_gallery", { ...kanbanView, Controller: GalleryController });
