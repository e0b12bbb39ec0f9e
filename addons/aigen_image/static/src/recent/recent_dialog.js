import { Component, onWillStart, useState } from "@odoo/owl";
import { Dialog } from "@web/core/dialog/dialog";
import { KeepLast } from "@web/core/utils/concurrency";
import { useAutofocus, useService } from "@web/core/utils/hooks";
import { useDebounced } from "@web/core/utils/timing";

/** The prompts that the person used last, or those of the person's favourites, to take one over. */
export class RecentDialog extends Component {
    static template = "aigen_image.RecentDialog";
    static components = { Dialog };
    static props = { choose: Function, close: Function };

    setup() {
        this.orm = useService("orm");
        this.last = new KeepLast();
        this.state = useState({ words: "", favorites: false, prompts: [] });
        this.search = useDebounced(() => this.load(), 250);
        useAutofocus();
        onWillStart(() => this.load());
    }

    async load() {
        const { words, favorites } = this.state;
        const asked = this.orm.call("aigen.image.request", "recent_prompts", [words.trim()], { favorites });
        this.state.prompts = await this.last.add(asked);
    }

    show(favorites) {
        this.state.favorites = favorites;
        return this.load();
    }

    async choose(prompt) {
        await this.props.choose(prompt);
        this.props.close();
    }
}
