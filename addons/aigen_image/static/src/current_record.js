import { useRecordObserver } from "@web/model/relational_model/utils";

/**
 * Calls back with the record of this component, and again when what was read of it changes.
 *
 * Unlike Odoo 18's `useRecordObserver`, never with a record that another one has replaced: a form that was just saved goes
 * on with a new record, and what changed in the one before is reported a frame later.
 */
export function useCurrentRecord(callback) {
    useRecordObserver((record, props) => record.id === props.record.id && callback(record));
}
