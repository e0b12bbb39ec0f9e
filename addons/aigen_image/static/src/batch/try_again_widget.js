import { Component } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { ViewButton } from "@web/views/view_button/view_button";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";

const AGAIN = { string: _t("Try again"), icon: "fa-repeat", clickParams: { type: "object", name: "action_try_again" } };
const WORDS = {
    string: _t("Change the words"),
    icon: "fa-pencil",
    clickParams: { type: "object", name: "action_change_words" },
};

/** On the card of a picture that failed: what a person can do about it. */
export class TryAgainWidget extends Component {
    static template = "aigen_image.TryAgain";
    static components = { ViewButton };
    static props = { ...standardWidgetProps };

    get button() {
        const { can_try_again, refused } = this.props.record.data;
        return can_try_again ? AGAIN : refused && WORDS;
    }
}

registry.category("view_widgets").add("aigen_try_again", {
    component: TryAgainWidget,
    fieldDependencies: [
        { name: "can_try_again", type: "boolean" },
        { name: "refused", type: "boolean" },
    ],
});
