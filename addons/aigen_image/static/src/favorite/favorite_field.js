import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { BooleanFavoriteField, booleanFavoriteField } from "@web/views/fields/boolean_favorite/boolean_favorite_field";

/** Makes a picture a favourite, or not any more. Whoever sees it may do so: nothing is written to the record by the view. */
export async function toggleFavorite(orm, record) {
    if (await record.save()) {
        await orm.call("aigen.image.request", "toggle_favorite", [[record.resId]]);
        await record.load();
    }
}

/** The star of a picture. */
export class FavoriteField extends BooleanFavoriteField {
    setup() {
        super.setup();
        this.orm = useService("orm");
    }

    get label() {
        return this.props.record.data[this.props.name] ? _t("Remove from favourites") : _t("Add to favourites");
    }

    update() {
        return toggleFavorite(this.orm, this.props.record);
    }
}

registry.category("fields").add("aigen_favorite", {
    ...booleanFavoriteField,
    component: FavoriteField,
    // The field is computed, and in Odoo's eyes only to be read.
    extractProps: (...params) => ({ ...booleanFavoriteField.extractProps(...params), readonly: false }),
    displayName: _t("Favourite picture"),
});
