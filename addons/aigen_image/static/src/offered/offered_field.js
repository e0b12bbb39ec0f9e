import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { SelectionField, selectionField } from "@web/views/fields/selection/selection_field";

/** A choice without what the model does not offer. The field that the option `offered` names has the values that it does. */
export class OfferedField extends SelectionField {
    static props = { ...SelectionField.props, offered: { type: String, optional: true } };

    get options() {
        const offered = this.props.record.data[this.props.offered];
        return super.options.filter(
            ([value]) => value === this.value || !Array.isArray(offered) || offered.includes(value)
        );
    }
}

export const offeredField = {
    ...selectionField,
    component: OfferedField,
    displayName: _t("What the model offers"),
    supportedTypes: ["selection"],
    extractProps: (info, dynamicInfo) => ({
        ...selectionField.extractProps(info, dynamicInfo),
        offered: info.options.offered,
    }),
};

registry.category("fields").add("aigen_offered", offeredField);
