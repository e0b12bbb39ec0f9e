import { Component, onMounted } from "@odoo/owl";
import { formatDateTime } from "@web/core/l10n/dates";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { standardFieldProps } from "@web/views/fields/standard_field_props";
import { useFollower } from "../follower/follower_service";
import { useSeconds } from "../follower/seconds";
import { describe, isOpen } from "../words";

const { DateTime } = luxon;

const STATES = {
    queued: { words: _t("The bridge took it"), icon: "fa-inbox" },
    again: { words: _t("It is sent again"), icon: "fa-repeat" },
    dispatched: { words: _t("N8N took it, the picture is being made"), icon: "fa-magic" },
    received: { words: _t("The picture is made and is being fetched"), icon: "fa-download" },
    completed: { words: _t("The picture is checked and stored"), icon: "fa-check-circle text-success" },
    failed: { words: _t("It failed"), icon: "fa-exclamation-circle text-danger" },
    cancelled: { words: _t("It was cancelled"), icon: "fa-ban" },
};
const STEPS = {
    dispatch: _t("Handing it to N8N"),
    fetch: _t("Fetching the picture"),
    deliver: _t("Telling Odoo"),
};
const OUTCOMES = {
    done: { words: _t("done"), look: "text-bg-success" },
    retry: { words: _t("will be tried again"), look: "text-bg-warning" },
    held: { words: _t("held until it is back"), look: "text-bg-warning" },
    dead: { words: _t("given up"), look: "text-bg-danger" },
    lost: { words: _t("interrupted"), look: "text-bg-secondary" },
};

/** What the bridge wrote down about a request, for people. While it is open, the bridge is asked for it. */
export class LogField extends Component {
    static template = "aigen_image.Log";
    static props = { ...standardFieldProps };

    setup() {
        this.orm = useService("orm");
        this.clock = useSeconds(1000);
        useFollower({ log: true });
        onMounted(() => isOpen(this.props.record.data) || this.refresh());
    }

    get entries() {
        const told = (this.props.record.data[this.props.name] || []).map((entry, index) => ({
            key: index,
            at: this.time(entry.at),
            ...(entry.kind === "state" ? this.change(entry, index) : this.attempt(entry)),
        }));
        return isOpen(this.props.record.data) ? [...told, this.moment()] : told;
    }

    /** What happens at the moment, below what has happened. */
    moment() {
        const { headline, detail, usual } = describe(this.props.record.data, this.clock.seconds);
        return { key: "now", at: _t("now"), icon: "fa-clock-o", words: headline, note: usual ? "" : detail };
    }

    change({ status, note }, index) {
        const state = STATES[status === "queued" && index ? "again" : status];
        return { ...(state || { words: status, icon: "fa-circle-o" }), note, change: true };
    }

    attempt({ step, number, outcome, duration_ms, durationMs, http_status, httpStatus, detail }) {
        const took = Math.round(durationMs ?? duration_ms ?? 0);
        const http = httpStatus ?? http_status;
        const facts = [_t("try %s", number), `${took} ms`, http && `HTTP ${http}`];
        return {
            words: STEPS[step] || step,
            icon: "fa-arrow-right",
            outcome: OUTCOMES[outcome],
            facts: facts.filter(Boolean).join(" · "),
            note: detail,
        };
    }

    time(text) {
        const at = DateTime.fromISO(text || "");
        return at.isValid ? formatDateTime(at.setZone("local"), { format: "HH:mm:ss.SSS" }) : "";
    }

    async refresh() {
        const { record } = this.props;
        if (record.resId) {
            await this.orm.silent.call("aigen.image.request", "action_follow", [[record.resId]], {
                log_ids: [record.resId],
            });
            if (!(await record.isDirty())) {
                await record.load();
            }
        }
    }
}

export const logField = {
    component: LogField,
    displayName: _t("Log of the bridge"),
    supportedTypes: ["json"],
    isEmpty: () => false,
};

registry.category("fields").add("aigen_log", logField);
