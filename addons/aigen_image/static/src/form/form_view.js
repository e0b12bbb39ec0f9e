import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { FormController } from "@web/views/form/form_controller";
import { formView } from "@web/views/form/form_view";
import { describeDeletion } from "../gallery/selection_actions";

/** The form of a picture says what is lost before it is deleted. */
export class PictureController extends FormController {
    get deleteConfirmationDialogProps() {
        return { ...super.deleteConfirmationDialogProps, title: _t("Delete for good?"), body: this.loss };
    }

    async deleteRecord() {
        this.loss = await describeDeletion([this.model.root.resId], this.env);
        return super.deleteRecord();
    }
}

registry.category("views").add("aigen_form", { ...formView, Controller: PictureController });
