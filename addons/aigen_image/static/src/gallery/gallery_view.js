import { registry } from "@web/core/registry";
import { KanbanController } from "@web/views/kanban/kanban_controller";
import { kanbanView } from "@web/views/kanban/kanban_view";
import { ListController } from "@web/views/list/list_controller";
import { listView } from "@web/views/list/list_view";
import { useLiveReload } from "../news";
import { banners } from "./registries";

/** The gallery reads itself again when a picture moves on. */
export class GalleryController extends KanbanController {
    static template = "aigen_image.Gallery";

    setup() {
        super.setup();
        useLiveReload(this.model);
        const { context } = this.props;
        this.banners = banners
            .getAll()
            .filter((banner) => banner.isShown(context))
            .map(({ Component, getProps }) => ({ Component, props: getProps(context) }));
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
