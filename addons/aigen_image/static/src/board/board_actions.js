import { _t } from "@web/core/l10n/translation";
import { attachmentId, withPicture } from "../gallery/picture";
import { cardActions, selectionActions } from "../gallery/registries";

/** Asks which board to put these pictures on. Resolves when it is answered. */
async function addToBoard(ids, { services: { action, orm } }) {
    const question = await orm.call("aigen.image.request", "action_add_to_board", [ids]);
    return new Promise((resolve) => action.doAction(question, { onClose: () => resolve(true) }));
}

/** Calls a method of the board whose gallery shows the record. */
async function callBoard(method, argument, { context }, { services: { orm } }) {
    await orm.call("aigen.image.board", method, [[context.aigen_board_id], argument]);
    return true;
}

cardActions.add(
    "board",
    {
        title: _t("Add to board"),
        icon: "fa-th-large",
        isShown: (record, context) => !context.aigen_board_id && record.data.may_write && attachmentId(record.data),
        onClick: (record, env) => addToBoard([record.resId], env),
    },
    { sequence: 40 }
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
        isShown: (records) => withPicture(records).some(({ data }) => data.may_write),
        onClick: addToBoard,
    },
    { sequence: 40 }
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
