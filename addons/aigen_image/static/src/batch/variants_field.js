import { registry } from "@web/core/registry";
import { RadioField, radioField } from "@web/views/fields/radio/radio_field";

/** A choice between few values, as buttons in one row. */
export class VariantsField extends RadioField {
    static template = "aigen_image.Variants";
}

registry.category("fields").add("aigen_variants", { ...radioField, component: VariantsField });
