import { _t } from "@web/core/l10n/translation";
import { attachmentId, withPicture } from "../gallery/picture";
import { cardActions, selectionActions } from "../gallery/registries";

/** Asks which board to put these pictures on. Resolves when it is answered. */
async function addToBoard(ids, { services: { action, orm } }) {
    const question = await orm.call("aigen.image.request", "action_add_to_board", [ids]);
    return new Promise((resolve) => action.doAction(question, { onClose: () => resolve(true) }));
}

/** Calls a method of the board whose gallery shows the record, or of the one that pictures are chosen for. */
async function callBoard(method, argument, { context }, { services: { orm } }) {
    const boardId = context.aigen_board_id || context.aigen_pick_board.id;
    await orm.call("aigen.image.board", method, [[boardId], argument]);
    return true;
}

const isOfBoard = (context) => Boolean(context.aigen_board_id || context.aigen_pick_board);

cardActions.add(
    "board",
    {
        title: _t("Add to board"),
        icon: "fa-th-large",
        isShown: (record, context) =>
            !isOfBoard(context) && record.data.may_write && Boolean(attachmentId(record.data)),
        onClick: (record, env) => addToBoard([record.resId], env),
    },
    { sequence: 40 }
);
cardActions.add(
    "pick",
    {
        title: _t("Put on the board"),
        icon: "fa-plus-circle",
        isShown: (record, context) => Boolean(context.aigen_pick_board),
        onClick: (record, env) => callBoard("add_pictures", [record.resId], record, env),
    },
    { sequence: 5 }
);
cardActions.add(
    "take_off",
    {
        title: _t("Take off the board"),
        icon: "fa-minus-circle",
        isShown: (record, context) => context.aigen_board_id && record.data.may_take_off,
        onClick: (record, env) => callBoard("remove_pictures", [record.resId], record, env),
    },
    { sequence: 40 }
);
selectionActions.add(
    "board",
    {
        title: _t("Add to board"),
        icon: "fa-th-large",
        isShown: (records, context) =>
            !context.aigen_pick_board && withPicture(records).some(({ data }) => data.may_write),
        onClick: addToBoard,
    },
    { sequence: 40 }
);
selectionActions.add(
    "pick",
    {
        title: _t("Put on the board"),
        icon: "fa-plus-circle",
        isShown: (records, context) => Boolean(context.aigen_pick_board),
        onClick: (ids, env, [record]) => callBoard("add_pictures", ids, record, env),
    },
    { sequence: 5 }
);
selectionActions.add(
    "take_off",
    {
        title: _t("Take off the board"),
        icon: "fa-minus-circle",
        isShown: (records, context) =>
            context.aigen_board_id && records.every(({ data }) => data.may_take_off),
        onClick: (ids, env, [record]) => callBoard("remove_pictures", ids, record, env),
    },
    { sequence: 42 }
);
selectionActions.add(
    "cover",
    {
        title: _t("Use as cover"),
        icon: "fa-picture-o",
        isShown: (records, context) => context.aigen_board_id && records.length === 1 && records[0].data.may_set_cover,
        onClick: ([id], env, [record]) => callBoard("set_cover", id, record, env),
    },
    { sequence: 44 }
);
