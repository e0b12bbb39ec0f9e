import { Component, onMounted, onWillDestroy, onWillStart, useState } from "@odoo/owl";
import { SelectMenu } from "@web/core/select_menu/select_menu";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { pick } from "@web/core/utils/objects";
import { useOwnedDialogs, useService } from "@web/core/utils/hooks";
import { FormViewDialog } from "@web/views/view_dialogs/form_view_dialog";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";
import { RecentDialog } from "../recent/recent_dialog";
import { PlaceholderDialog, fillTexts } from "./placeholder_dialog";

const MODEL = "aigen.image.preset";
/** What a preset sets. */
const SETTINGS = ["prompt", "negative_prompt", "model_id", "shape", "detail", "steps", "cfg"];
/** Presets with a button of their own; the others are in a menu. */
const SHOWN = 5;
const LIMIT = 200;

/** Where a new picture starts from: presets, recent prompts, and a way to keep the settings that are there. */
export class PresetBar extends Component {
    static template = "aigen_image.PresetBar";
    static components = { SelectMenu };
    static props = { ...standardWidgetProps };

    setup() {
        this.orm = useService("orm");
        this.notification = useService("notification");
        this.addDialog = useOwnedDialogs();
        this.state = useState({ presets: [] });
        onWillStart(() => this.load());
        onMounted(() => this.focusPrompt());
        onWillDestroy(() => this.closeNotification?.());
    }

    /** Puts the cursor into the prompt of a draft that exists: Odoo itself does so in new records only. */
    focusPrompt() {
        if (this.props.record.resId) {
            document.querySelector(".o_aigen_form [name=prompt] textarea")?.focus();
        }
    }

    get shown() {
        return this.state.presets.slice(0, SHOWN);
    }

    get further() {
        return this.state.presets.slice(SHOWN).map(({ id, name }) => ({ value: id, label: name }));
    }

    /** Managers may read all, and are offered what is shared with them. */
    async load() {
        this.state.presets = await this.orm.searchRead(MODEL, [["is_visible", "=", true]], ["name"], { limit: LIMIT });
    }

    async apply(id) {
        this.closeNotification?.();
        try {
            await this.propose(this.state.presets.find((preset) => preset.id === id));
        } catch (error) {
            await this.load(); // it may have been deleted meanwhile
            throw error;
        }
    }

    async propose({ id, name }) {
        await this.props.record.isDirty(); // what is being typed is part of it
        const { values, notes, placeholders } = await this.orm.call(MODEL, "propose", [[id], this.present()]);
        const message = notes.join(" ") || _t("“%s” is applied.", name);
        const take = (changes) => this.take(changes, message, notes.length ? "warning" : "success");
        if (!placeholders.length) {
            return take(values);
        }
        const confirm = (words) => take({ ...values, ...fillTexts(values, words) });
        this.addDialog(PlaceholderDialog, { title: name, placeholders, confirm });
    }

    present() {
        const { data } = this.props.record;
        return { ...pick(data, ...SETTINGS), model_id: idOf(data.model_id) };
    }

    /** Changes the form, and offers to undo it. */
    async take(values, message, type) {
        const { record } = this.props;
        const before = pick(record.data, ...Object.keys(values));
        await record.update(values.model_id ? { ...values, model_id: many2one(values.model_id) } : values);
        const undo = () => {
            this.closeNotification();
            record.update(before);
        };
        const buttons = [{ name: _t("Undo"), onClick: undo }];
        this.closeNotification = this.notification.add(message, { type, buttons });
    }

    async save() {
        this.closeNotification?.();
        await this.props.record.isDirty();
        const present = Object.entries(this.present()).filter(([, value]) => value);
        this.addDialog(FormViewDialog, {
            resModel: MODEL,
            title: _t("Save as preset"),
            context: Object.fromEntries(present.map(([field, value]) => [`default_${field}`, value])),
            onRecordSaved: () => this.load(),
        });
    }

    showRecent() {
        this.closeNotification?.();
        this.addDialog(RecentDialog, { choose: (prompt) => this.take({ prompt }, _t("The prompt is taken over."), "success") });
    }
}

/** A value of both series: `{id, …}` in Odoo 19, `[id, name]` in 18. */
function idOf(value) {
    return value ? (value.id ?? value[0]) : false;
}

function many2one({ id, display_name }) {
    return Object.assign([id, display_name], { id, display_name });
}

registry.category("view_widgets").add("aigen_presets", {
    component: PresetBar,
    fieldDependencies: [
        { name: "prompt", type: "text" },
        { name: "negative_prompt", type: "text" },
        { name: "model_id", type: "many2one", relation: "aigen.image.model" },
        { name: "shape", type: "selection" },
        { name: "detail", type: "selection" },
        { name: "steps", type: "integer" },
        { name: "cfg", type: "float" },
    ],
});
