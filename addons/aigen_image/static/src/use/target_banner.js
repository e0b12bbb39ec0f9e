import { Component } from "@odoo/owl";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";

/** Above the pictures, while one is chosen for a record: for which, and how. */
export class TargetBanner extends Component {
    static template = "aigen_image.TargetBanner";
    static props = { model: String, resId: Number, name: String };

    setup() {
        this.action = useService("action");
        this.orm = useService("orm");
    }

    async makePicture() {
        const { model, resId } = this.props;
        this.action.doAction(await this.orm.call(model, "action_make_picture", [[resId]]));
    }
}

registry.category("aigen_image.gallery_banner").add("target", {
    Component: TargetBanner,
    isShown: (context) => Boolean(context.aigen_target_id),
    getProps: (context) => ({
        model: context.aigen_target_model,
        resId: context.aigen_target_id,
        name: context.aigen_target_name || "",
    }),
});
