import { Component } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { standardFieldProps } from "@web/views/fields/standard_field_props";
import { useFollower } from "../follower/follower_service";
import { useSeconds } from "../follower/seconds";
import { WORD_FIELDS, describe, isHeld, isOpen } from "../words";

/** Milliseconds after which a picture may have become late. */
const LOOKS_AGAIN = 1000;

/** How a picture stands, on a card or in a row: while it is under way what happens, afterwards why there is none. */
export class MomentField extends Component {
    static template = "aigen_image.Moment";
    static props = { ...standardFieldProps, isCard: { type: Boolean, optional: true } };

    setup() {
        this.clock = useSeconds(LOOKS_AGAIN);
        useFollower();
    }

    get data() {
        return this.props.record.data;
    }

    get state() {
        return Object.fromEntries(this.props.record.fields.status.selection)[this.data.status];
    }

    /** The words of the moment; of one that ended its state and why. What is as usual needs no words here. */
    get words() {
        if (!isOpen(this.data)) {
            return { headline: this.state, detail: this.data.explanation };
        }
        const words = describe(this.data, this.clock.seconds);
        return { ...words, detail: words.usual ? "" : words.detail };
    }

    /** In a row, the state has a column of its own. */
    get row() {
        const { headline, detail } = this.words;
        return [headline !== this.state && headline, detail].filter(Boolean).join(isHeld(this.data) ? " " : " · ");
    }
}

export const momentField = {
    component: MomentField,
    displayName: _t("How a picture stands"),
    supportedTypes: ["char"],
    isEmpty: () => false,
    extractProps: ({ options }) => ({ isCard: Boolean(options.card) }),
    fieldDependencies: WORD_FIELDS,
};

registry.category("fields").add("aigen_moment", momentField);
