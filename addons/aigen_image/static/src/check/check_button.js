import { Component, useState } from "@odoo/owl";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";

/** Tries the connection with what stands in the settings. A button of the form would save them, or ask to, first. */
export class CheckButton extends Component {
    static template = "aigen_image.CheckButton";
    static props = { ...standardWidgetProps };

    setup() {
        this.action = useService("action");
        this.orm = useService("orm");
        this.state = useState({ busy: false });
    }

    async check() {
        this.state.busy = true;
        try {
            await this.props.record.isDirty(); // takes over what is being typed
            const { aigen_bridge_url, aigen_bridge_key, aigen_bridge_ops_key } = this.props.record.data;
            const typed = [aigen_bridge_url, aigen_bridge_key, aigen_bridge_ops_key];
            await this.action.doAction(await this.orm.call("res.config.settings", "aigen_check", typed));
        } finally {
            this.state.busy = false;
        }
    }
}

registry.category("view_widgets").add("aigen_check", { component: CheckButton });
