import { toRaw } from "@odoo/owl";

/** The picture at which a range begins, for each view that is open. */
const anchors = new WeakMap();

/** Selects a picture or takes it out. With `isRange`, all from the last one that was pressed are as this one. */
export function toggleSelection(record, isRange) {
    const { root } = record.model;
    const ids = root.records.map(({ resId }) => resId);
    const from = isRange ? ids.indexOf(anchors.get(toRaw(record.model))) : -1;
    const to = ids.indexOf(record.resId);
    const selected = !record.selected;
    const range = from < 0 ? [record] : root.records.slice(Math.min(from, to), Math.max(from, to) + 1);
    anchors.set(toRaw(record.model), record.resId);
    return Promise.all(range.map((one) => one.toggleSelection(selected)));
}

/** Nothing is selected any more. */
export function clearSelection(list) {
    return Promise.all(list.selection.map((record) => record.toggleSelection(false)));
}
