import { ConfirmationDialog } from "@web/core/confirmation_dialog/confirmation_dialog";
import { _t } from "@web/core/l10n/translation";
import { session } from "@web/session";
import { CompareDialog } from "../compare/compare_dialog";
import { withPicture } from "./picture";
import { selectionActions } from "./registries";
import { clearSelection } from "./selection";

const MODEL = "aigen.image.request";

/** What can be done to the selected pictures of a view: `[{ key, title, icon, isShown, onClick }]`. */
export function actionsFor(list) {
    return selectionActions
        .getEntries()
        .map(([key, action]) => ({ key, ...action }))
        .filter((action) => action.isShown(list.selection, list.context));
}

/** Does it to all that are selected, also to those that the view does not show. */
export async function runOnSelection(action, list, env) {
    if ((await action.onClick(await list.getResIds(true), env, list.selection)) === true) {
        await clearSelection(list);
        await list.model.load();
    }
}

/** What a person is told before these pictures are deleted. */
export function describeDeletion(ids, { services }) {
    return services.orm.call(MODEL, "describe_deletion", [ids]);
}

/** Asks before pictures are deleted, and says what is lost. Resolves to whether they are deleted. */
export async function deletePictures(ids, env) {
    const { dialog, orm } = env.services;
    const body = await describeDeletion(ids, env);
    return new Promise((resolve) =>
        dialog.add(
            ConfirmationDialog,
            {
                title: _t("Delete for good?"),
                body,
                confirmLabel: _t("Delete"),
                confirmClass: "btn-danger",
                confirm: async () => {
                    await orm.unlink(MODEL, ids);
                    resolve(true);
                },
                cancelLabel: _t("Keep"),
                cancel: () => resolve(false),
            },
            { onClose: () => resolve(false) }
        )
    );
}

const mayWriteAll = (records) => records.every(({ data }) => data.may_write);

/** Does not ask: it is undone with the filter "Archived". */
function archiving(title, method, isActive) {
    return {
        title,
        icon: isActive ? "fa-archive" : "fa-undo",
        isShown: (records) => mayWriteAll(records) && records.some(({ data }) => (data.active ?? true) === isActive),
        onClick: async (ids, { services }) => {
            await services.orm.call(MODEL, method, [ids]);
            return true;
        },
    };
}

selectionActions
    .add(
        "compare",
        {
            title: _t("Compare"),
            icon: "fa-columns",
            isShown: (records) => records.length === 2 && withPicture(records).length === 2,
            onClick: (ids, { services }, records) => services.dialog.add(CompareDialog, { records }),
        },
        { sequence: 10 }
    )
    .add(
        "favorite",
        {
            title: _t("Favourite"),
            icon: "fa-star",
            isShown: () => true,
            onClick: async (ids, { services }) => {
                await services.orm.call(MODEL, "toggle_favorite", [ids]);
                return true;
            },
        },
        { sequence: 20 }
    )
    .add(
        "tag",
        {
            title: _t("Tags"),
            icon: "fa-tags",
            isShown: mayWriteAll,
            onClick: async (ids, { services }) => {
                const action = await services.orm.call(MODEL, "action_tag", [ids]);
                return new Promise((resolve) => services.action.doAction(action, { onClose: () => resolve(true) }));
            },
        },
        { sequence: 30 }
    )
    .add(
        "download",
        {
            title: _t("Download"),
            icon: "fa-download",
            isShown: (records) => withPicture(records).length > 0,
            onClick: async (ids, { services }) => {
                await services.action.doAction(await services.orm.call(MODEL, "action_download", [ids]));
            },
        },
        { sequence: 50 }
    )
    .add(
        "download_labelled",
        {
            title: _t("Download with label"),
            icon: "fa-tag",
            isShown: (records) => Boolean(session.aigen_label) && withPicture(records).length > 0,
            onClick: async (ids, { services }) => {
                await services.action.doAction(await services.orm.call(MODEL, "action_download_labelled", [ids]));
            },
        },
        { sequence: 51 }
    )
    .add("archive", archiving(_t("Archive"), "action_archive", true), { sequence: 60 })
    .add("unarchive", archiving(_t("Unarchive"), "action_unarchive", false), { sequence: 61 })
    .add(
        "delete",
        { title: _t("Delete"), icon: "fa-trash-o", isShown: mayWriteAll, onClick: deletePictures },
        { sequence: 90 }
    );
