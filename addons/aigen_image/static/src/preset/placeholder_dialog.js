import { Component, onMounted, useRef, useState } from "@odoo/owl";
import { Dialog } from "@web/core/dialog/dialog";
import { pick } from "@web/core/utils/objects";

/** As `bridge/placeholders.py` finds them. */
const PLACEHOLDER = /\{\{\s*([^{}\s](?:[^{}]*[^{}\s])?)\s*\}\}/g;

/** Returns the texts of a preset with words in place of placeholders. One without words stays, and the form says so. */
export function fillTexts(values, words) {
    const fill = (text) => text.replace(PLACEHOLDER, (placeholder, name) => words[name]?.trim() || placeholder);
    const texts = Object.entries(pick(values, "prompt", "negative_prompt")).filter(([, text]) => text);
    return Object.fromEntries(texts.map(([field, text]) => [field, fill(text)]));
}

/** Asks for the words of a preset. */
export class PlaceholderDialog extends Component {
    static template = "aigen_image.PlaceholderDialog";
    static components = { Dialog };
    static props = {
        title: String,
        placeholders: { type: Array, element: String },
        confirm: Function,
        close: Function,
    };

    setup() {
        this.words = useState(Object.fromEntries(this.props.placeholders.map((name) => [name, ""])));
        this.form = useRef("form");
        onMounted(() => this.form.el.querySelector("input").focus());
    }

    async confirm() {
        await this.props.confirm(this.words);
        this.props.close();
    }
}
