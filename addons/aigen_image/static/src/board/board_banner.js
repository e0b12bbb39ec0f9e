import { Component, onWillStart, useState } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { user } from "@web/core/user";
import { useService } from "@web/core/utils/hooks";
import { SelectCreateDialog } from "@web/views/view_dialogs/select_create_dialog";
import { banners } from "../gallery/registries";

const FIELDS = ["name", "description", "visibility", "user_id", "is_mine", "may_add", "may_edit"];
const SHARED = {
    private: { icon: "fa-lock", words: _t("Only me") },
    shared: { icon: "fa-users", words: _t("Shared with people and groups") },
    company: { icon: "fa-building-o", words: _t("Everybody in the company") },
};

/** Above the pictures of a board: what it is, who sees it, and what one may do with it. */
export class BoardBanner extends Component {
    static template = "aigen_image.BoardBanner";
    static props = { boardId: Number };

    setup() {
        this.action = useService("action");
        this.dialog = useService("dialog");
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

    add() {
        const { boardId } = this.props;
        this.dialog.add(SelectCreateDialog, {
            title: _t("Add pictures to “%s”", this.board.name),
            resModel: "aigen.image.request",
            domain: [
                ["user_id", "=", user.userId],
                ["status", "=", "completed"],
                "!",
                ["item_ids.board_id", "=", boardId],
            ],
            noCreate: true,
            onSelected: async (ids) => {
                await this.orm.call("aigen.image.board", "add_pictures", [[boardId], ids]);
                await this.reopen();
            },
        });
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

    /** Reads the gallery below again. */
    async reopen() {
        const action = await this.orm.call("aigen.image.board", "action_open", [[this.props.boardId]]);
        await this.action.doAction(action, { stackPosition: "replaceCurrentAction" });
    }
}

banners.add("board", {
    Component: BoardBanner,
    isShown: (context) => Boolean(context.aigen_board_id),
    getProps: (context) => ({ boardId: context.aigen_board_id }),
});
