import { Component } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { clearSelection } from "./selection";
import { actionsFor, runOnSelection } from "./selection_actions";

/** How many pictures are selected, and what can be done to them. */
export class SelectionBar extends Component {
    static template = "aigen_image.SelectionBar";
    static props = { list: Object };

    get words() {
        return _t("%s selected", this.props.list.selection.length);
    }

    get actions() {
        return actionsFor(this.props.list);
    }

    get isAll() {
        return this.props.list.selection.length === this.props.list.records.length;
    }

    selectAll() {
        return Promise.all(this.props.list.records.map((record) => record.toggleSelection(true)));
    }

    clear() {
        return clearSelection(this.props.list);
    }

    run(action) {
        return runOnSelection(action, this.props.list, this.env);
    }
}
