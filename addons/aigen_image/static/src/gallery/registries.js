import { registry } from "@web/core/registry";

/**
 * What other modules add to the gallery. The order is the `sequence` of `registry.add(key, value, { sequence })`.
 *
 * `record` is a record of the view (`record.resId`, `record.data`), `context` the context of the view, `env` has `services`.
 */

/**
 * Shown above the pictures: `{ Component, isShown(context), getProps(context) }`.
 *
 * The component reads what it needs itself: it is not made anew when the gallery reads its pictures again.
 */
export const banners = registry.category("aigen_image.gallery_banner");

/**
 * Buttons of one picture: `{ title, icon, isShown(record, context), onClick(record, env) }`.
 *
 * `icon` is a class of Font Awesome, such as `fa-download`. When `onClick` resolves to `true`, the view reads itself again.
 */
export const cardActions = registry.category("aigen_image.card_actions");

/**
 * Buttons for the selected pictures, in the gallery and in the list: `{ title, icon, isShown(records, context), onClick(ids, env) }`.
 *
 * `ids` are those of all selected pictures; `records` has only those that the view shows. When `onClick` resolves to
 * `true`, the view reads itself again and nothing is selected any more.
 */
export const selectionActions = registry.category("aigen_image.selection_actions");
