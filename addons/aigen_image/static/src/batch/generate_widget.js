import { Component, useRef } from "@odoo/owl";
import { useHotkey } from "@web/core/hotkeys/hotkey_hook";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { ViewButton } from "@web/views/view_button/view_button";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";

/** Where Ctrl+Enter sends a message instead. */
const COMPOSER = ".o-mail-Composer";

/** The button that asks for the pictures. It says how many, and what they are estimated to cost. */
export class GenerateWidget extends Component {
    static template = "aigen_image.Generate";
    static components = { ViewButton };
    static props = { ...standardWidgetProps };

    setup() {
        this.root = useRef("root");
        this.hint = _t("Ctrl+Enter");
        useHotkey("control+enter", () => this.generate(), {
            bypassEditableProtection: true,
            isAvailable: () => !document.activeElement?.closest(COMPOSER),
        });
    }

    get data() {
        return this.props.record.data;
    }

    get isDisabled() {
        return Boolean(this.data.matrix_error);
    }

    get label() {
        const { picture_count: count, estimated_total: price } = this.data;
        if (!price) {
            return count > 1 ? _t("Generate %s", count) : _t("Generate");
        }
        return count > 1
            ? _t("Generate %(count)s · about %(price)s", { count, price })
            : _t("Generate · about %(price)s", { price });
    }

    /** Takes over first what is being typed: it may disable the button. */
    async generate() {
        await this.props.record.isDirty();
        if (!this.isDisabled) {
            this.root.el?.querySelector("button").click(); // which does nothing while it is at work
        }
    }
}

registry.category("view_widgets").add("aigen_generate", {
    component: GenerateWidget,
    fieldDependencies: [
        { name: "picture_count", type: "integer" },
        { name: "estimated_total", type: "char" },
        { name: "matrix_error", type: "char" },
    ],
});
