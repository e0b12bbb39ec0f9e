import { Component, useState } from "@odoo/owl";
import { Dialog } from "@web/core/dialog/dialog";
import { _t } from "@web/core/l10n/translation";
import { useService } from "@web/core/utils/hooks";
import { toggleFavorite } from "../favorite/favorite_field";
import { pictureUrl } from "../gallery/picture";

/** Two pictures on top of each other. The slider decides how much of each is seen. */
export class CompareDialog extends Component {
    static template = "aigen_image.CompareDialog";
    static components = { Dialog };
    static props = { records: Array, close: Function };

    setup() {
        this.orm = useService("orm");
        this.title = _t("Compare two pictures");
        this.state = useState({ share: 50 });
        this.records = useState(this.props.records);
    }

    get sides() {
        return this.records.map((record, index) => ({
            record,
            label: index ? _t("Right") : _t("Left"),
            source: pictureUrl(record.data),
        }));
    }

    get valueText() {
        return _t("%s percent of the left picture", this.state.share);
    }

    toggleFavorite(record) {
        return toggleFavorite(this.orm, record);
    }
}
