import { Component } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { standardFieldProps } from "@web/views/fields/standard_field_props";

/** What a picture was made from, and what was made from it. */
export class LineageField extends Component {
    static template = "aigen_image.Lineage";
    static props = { ...standardFieldProps };

    setup() {
        this.action = useService("action");
    }

    get lineage() {
        return this.props.record.data[this.props.name] || { children: [], more: 0 };
    }

    open(id) {
        return this.action.doAction({
            type: "ir.actions.act_window",
            res_model: this.props.record.resModel,
            res_id: id,
            views: [[false, "form"]],
        });
    }
}

registry.category("fields").add("aigen_lineage", {
    component: LineageField,
    displayName: _t("Made from, and made from it"),
    supportedTypes: ["json"],
    isEmpty: () => false,
});
