import { Component, useExternalListener } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { useDebounced } from "@web/core/utils/timing";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";

/** Milliseconds after the last key until what is typed is looked at. */
const PAUSE = 400;

/** The prompts that the alternatives in a prompt give, or why they give none, while it is typed. */
export class MatrixWidget extends Component {
    static template = "aigen_image.Matrix";
    static props = { ...standardWidgetProps };

    setup() {
        const takeOver = useDebounced(() => this.props.record.isDirty(), PAUSE);
        useExternalListener(window, "input", ({ target }) => {
            const isPrompt = target.closest(".o_field_widget[name=prompt]");
            if (isPrompt && (/[{}]/.test(target.value) || this.data.matrix_error || this.prompts.length)) {
                takeOver();
            }
        });
    }

    get data() {
        return this.props.record.data;
    }

    get prompts() {
        return this.data.matrix_prompts || [];
    }

    get title() {
        return _t("%(pictures)s pictures of %(prompts)s prompts:", {
            pictures: this.data.picture_count,
            prompts: this.prompts.length,
        });
    }
}

registry.category("view_widgets").add("aigen_matrix", {
    component: MatrixWidget,
    fieldDependencies: [
        { name: "matrix_prompts", type: "json" },
        { name: "matrix_error", type: "char" },
        { name: "picture_count", type: "integer" },
    ],
});
