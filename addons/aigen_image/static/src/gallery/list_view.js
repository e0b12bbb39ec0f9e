import { registry } from "@web/core/registry";
import { ListController } from "@web/views/list/list_controller";
import { listView } from "@web/views/list/list_view";
import { useLiveReload } from "../news";
import { actionsFor, runOnSelection } from "./selection_actions";

/** Where the first of the gallery's actions stands among Odoo's own: after the export. */
const FIRST = 11;
/** Actions that stay where Odoo has them. */
const IN_PLACE = ["archive", "unarchive", "delete"];

/** The list of pictures reads itself again when a picture moves on, and offers what the gallery offers. */
export class PicturesController extends ListController {
    setup() {
        super.setup();
        useLiveReload(this.model);
    }

    getStaticActionMenuItems() {
        const items = super.getStaticActionMenuItems();
        const { root } = this.model;
        actionsFor(root).forEach((action, index) => {
            const { key, title, icon } = action;
            const callback = () => runOnSelection(action, root, this.env);
            const added = { description: title, icon: `fa ${icon}`, sequence: FIRST + index / 100 };
            items[key] = IN_PLACE.includes(key) ? { ...items[key], callback } : { ...added, callback };
        });
        return items;
    }
}

registry.category("views").add("aigen_list", { ...listView, Controller: PicturesController });
