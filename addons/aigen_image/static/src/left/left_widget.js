import { Component, useState } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";
import { useCurrentRecord } from "../current_record";
import { showAmount } from "../amount";

/** The fields of a request by which budgets count it. The campaign is there only with `aigen_image_utm`. */
const WISHES = ["model_id", "campaign_id"];
const PERIODS = { day: _t("Left today"), month: _t("Left this month"), total: _t("Left in total") };
/** Budgets that are shown; the tightest come first. */
const SHOWN = 3;
/** Percents of a budget from which on its bar warns. */
const LITTLE = 80;
const NOTHING = 100;

/** What is left of the budgets that would count the pictures, beside Generate. Nothing while the bridge does not say. */
export class LeftWidget extends Component {
    static template = "aigen_image.Left";
    static props = { ...standardWidgetProps };

    setup() {
        this.orm = useService("orm");
        this.state = useState({ budgets: [], number: 1 });
        useCurrentRecord((record) => this.follow(record));
    }

    /** Asks again when the wishes differ, and after a refusal. */
    follow({ data, resId }) {
        const wishes = Object.fromEntries(WISHES.map((name) => [name, idOf(data[name])]));
        wishes.resolution = data.resolution;
        wishes.number = data.picture_count || 1;
        const asked = JSON.stringify([resId, wishes, data.status, data.error_code]);
        if (asked !== this.asked) {
            this.asked = asked;
            if (data.status === "draft") {
                this.ask(asked, wishes);
            }
        }
    }

    async ask(asked, wishes) {
        const budgets = await this.read(wishes).catch(() => []); // an error would cover the form with a dialog
        if (asked === this.asked) {
            this.state.number = wishes.number;
            this.state.budgets = budgets.slice(0, SHOWN).map(describe);
        }
    }

    async read(wishes) {
        const orm = this.orm.silent;
        const id = await orm.call("aigen.money.left", "ask", [wishes]);
        const [{ budgets }] = await orm.read("aigen.money.left", [id], ["budgets"]);
        return budgets || [];
    }
}

function describe({ name, limit, currency, period, left, used, is_too_little }) {
    const colour = used >= NOTHING ? "bg-danger" : used >= LITTLE ? "bg-warning" : "bg-success";
    const amounts = _t("%(left)s of %(limit)s", { left: showAmount(left), limit: `${showAmount(limit)} ${currency}` });
    return { name, label: PERIODS[period], amounts, colour, isTooLittle: is_too_little, left: Math.max(0, 100 - used) };
}

/** `{id, …}` in Odoo 19, `[id, name]` in 18. */
function idOf(value) {
    return value ? (value.id ?? value[0]) : false;
}

registry.category("view_widgets").add("aigen_left", {
    component: LeftWidget,
    fieldDependencies: [
        { name: "status", type: "selection" },
        { name: "error_code", type: "char" },
        { name: "resolution", type: "char" },
        { name: "picture_count", type: "integer" },
    ],
});
