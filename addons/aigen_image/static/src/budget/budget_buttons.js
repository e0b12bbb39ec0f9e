import { Component, useState } from "@odoo/owl";
import { ConfirmationDialog } from "@web/core/confirmation_dialog/confirmation_dialog";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";

/**
 * Saves or removes a budget at the bridge. The dialog closes only when the bridge has done it; else it says why not. The
 * bridge is called after the commit, so the answer is read with a second call.
 */
export class BudgetButtons extends Component {
    static template = "aigen_image.BudgetButtons";
    static props = { ...standardWidgetProps };

    setup() {
        this.action = useService("action");
        this.dialog = useService("dialog");
        this.notification = useService("notification");
        this.orm = useService("orm");
        this.state = useState({ busy: false });
    }

    get data() {
        return this.props.record.data;
    }

    save(force) {
        return this.send("action_save", { force }, _t("The budget is saved."));
    }

    remove() {
        this.dialog.add(ConfirmationDialog, {
            title: _t("Remove this budget?"),
            body: _t("Nothing limits what it counted any more. What was spent stays in the books."),
            confirmLabel: _t("Remove"),
            confirm: () => this.send("action_remove", {}, _t("The budget is removed.")),
            cancel: () => {},
        });
    }

    async send(method, how, done) {
        const { record } = this.props;
        this.state.busy = true;
        try {
            if (!(await record.save())) {
                return; // the form shows what is missing
            }
            await this.orm.call("aigen.budget.change", method, [[record.resId]], how);
            const [{ state, words }] = await this.orm.read("aigen.budget.change", [record.resId], ["state", "words"]);
            if (state === "done") {
                this.notification.add(words || done, { title: words ? done : "", type: words ? "info" : "success" });
                await this.action.doAction({ type: "ir.actions.act_window_close" });
            } else {
                await record.load();
            }
        } finally {
            this.state.busy = false;
        }
    }
}

registry.category("view_widgets").add("aigen_budget_buttons", {
    component: BudgetButtons,
    fieldDependencies: [
        { name: "is_new", type: "boolean" },
        { name: "may_force", type: "boolean" },
    ],
});
