import { Component, onWillStart, useState } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { useService } from "@web/core/utils/hooks";
import { banners } from "../gallery/registries";

const FIELDS = ["name", "description", "visibility", "is_mine", "may_add", "may_edit"];
const SHARED = {
    private: { icon: "fa-lock", words: _t("Private") },
    shared: { icon: "fa-users", words: _t("Shared with people and groups") },
    company: { icon: "fa-building-o", words: _t("Whole company") },
};

/** Above the pictures of a board: what it is, who sees it, and what one may do with it. */
export class BoardBanner extends Component {
    static template = "aigen_image.BoardBanner";
    static props = { boardId: Number };

    setup() {
        this.action = useService("action");
        this.orm = useService("orm");
        this.state = useState({ board: undefined, isGone: false });
        onWillStart(() => this.load());
    }

    get board() {
        return this.state.board;
    }

    get shared() {
        return SHARED[this.board.visibility];
    }

    async load() {
        const domain = [["id", "=", this.props.boardId]];
        const context = { active_test: false };
        [this.state.board] = await this.orm.searchRead("aigen.image.board", domain, FIELDS, { context });
        this.state.isGone = !this.board;
    }

    async pick() {
        await this.action.doAction(await this.orm.call("aigen.image.board", "action_pick", [[this.props.boardId]]));
    }

    arrange() {
        return this.action.doAction("aigen_image.aigen_image_board_item_action");
    }

    share() {
        return this.action.doAction({
            type: "ir.actions.act_window",
            res_model: "aigen.image.board",
            res_id: this.props.boardId,
            views: [[false, "form"]],
        });
    }
}

/** Above the pictures that can be put on a board. */
export class PickBanner extends Component {
    static template = "aigen_image.PickBanner";
    static props = { name: String };

    setup() {
        this.action = useService("action");
    }

    done() {
        return this.action.restore();
    }
}

banners.add("board", {
    Component: BoardBanner,
    isShown: (context) => Boolean(context.aigen_board_id),
    getProps: (context) => ({ boardId: context.aigen_board_id }),
});
banners.add("pick", {
    Component: PickBanner,
    isShown: (context) => Boolean(context.aigen_pick_board),
    getProps: (context) => ({ name: context.aigen_pick_board.name }),
});
