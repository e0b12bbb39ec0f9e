import { serializeDateTime } from "@web/core/l10n/dates";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { useSetupAction } from "@web/search/action_hook";
import { Layout } from "@web/search/layout";
import { formatFloat, formatInteger } from "@web/views/fields/formatters";
import { View } from "@web/views/view";
import { standardActionServiceProps } from "@web/webclient/actions/action_service";
import { Component, onWillStart, useState } from "@odoo/owl";
import { formatAmount } from "../amount";

const { DateTime } = luxon;
const MODEL = "aigen.image.request";

/** The figures of a time, against those of the time before, and Odoo's own graphs below. For managers. */
export class Dashboard extends Component {
    static template = "aigen_image.Dashboard";
    static components = { Layout, View };
    static props = { ...standardActionServiceProps };

    periods = [
        { days: 7, name: _t("7 days"), interval: "day" },
        { days: 30, name: _t("30 days"), interval: "day" },
        { days: 90, name: _t("90 days"), interval: "week" },
        { days: 365, name: _t("12 months"), interval: "month" },
    ];

    setup() {
        this.orm = useService("orm");
        this.action = useService("action");
        this.state = useState({ period: this.periods[1], ...this.props.state });
        useSetupAction({ getLocalState: () => ({ period: this.state.period }) });
        onWillStart(() => this.load(this.state.period));
    }

    async load(period) {
        const figures = await this.orm.call(MODEL, "report_figures", [period.days]);
        Object.assign(this.state, { period, figures });
    }

    get domain() {
        const since = DateTime.now().minus({ days: this.state.period.days });
        return [
            ["requested_at", ">=", serializeDateTime(since)],
            ["status", "!=", "draft"],
        ];
    }

    get cards() {
        const { now, before } = this.state.figures;
        return [
            { name: _t("Pictures"), value: formatInteger(now.pictures), before: formatInteger(before.pictures) },
            { name: _t("Failed"), value: share(now), before: share(before), filter: "failed" },
            { name: _t("Seconds until ready"), value: seconds(now), before: seconds(before) },
            { name: _t("Costs"), value: amounts(now, "\n"), before: amounts(before, " + "), filter: "paid" },
        ];
    }

    get graphs() {
        const time = `requested_at:${this.state.period.interval}`;
        const made = { measure: "completed_count", order: "DESC", domain: [["status", "=", "completed"]] };
        return [
            { name: _t("Requests"), measure: "__count", groupBy: [time, "status"], stacked: true },
            {
                name: _t("Costs"),
                measure: "cost_value",
                groupBy: [time, "cost_currency"],
                domain: [["cost_currency", "!=", false]],
                isHidden: !this.state.figures.now.costs.length,
            },
            { name: _t("Pictures by person"), groupBy: ["user_id"], ...made },
            { name: _t("Pictures by model"), groupBy: ["model_id"], ...made },
        ].filter((graph) => !graph.isHidden);
    }

    get isEmpty() {
        const { pictures, failures, costs } = this.state.figures.now;
        return !pictures && !failures && !costs.length;
    }

    graphProps({ measure, groupBy, domain = [], stacked = false, order = null }) {
        return {
            type: "graph",
            resModel: MODEL,
            views: [
                [false, "graph"],
                [false, "search"],
            ],
            domain: [...this.domain, ...domain],
            context: {
                active_test: false,
                graph_mode: "bar",
                graph_measure: measure,
                graph_groupbys: groupBy,
                graph_stacked: stacked,
                graph_order: order,
            },
            display: { controlPanel: false },
        };
    }

    /** Show the pictures of a figure. */
    open({ filter = "ready" }) {
        return this.action.doAction("aigen_image.aigen_image_request_action_analysis", {
            viewType: "list",
            additionalContext: { [`search_default_${filter}`]: 1 },
            props: { dynamicFilters: [{ description: this.state.period.name, domain: this.domain }] },
        });
    }
}

/** The share of what ended that failed. */
function share({ pictures, failures }) {
    const ended = pictures + failures;
    return ended ? _t("%s %", formatFloat((100 * failures) / ended, { digits: [16, 1] })) : "—";
}

function seconds({ seconds: number }) {
    return number ? formatFloat(number, { digits: [16, 1] }) : "—";
}

/** One amount for each currency: they are never added. */
function amounts({ costs }, between) {
    return costs.map(([currency, amount]) => `${formatAmount(amount)} ${currency}`).join(between) || "—";
}

registry.category("actions").add("aigen_image.dashboard", Dashboard);
