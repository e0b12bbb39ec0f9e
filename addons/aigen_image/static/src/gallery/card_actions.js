import { _t } from "@web/core/l10n/translation";
import { openLightbox } from "../lightbox/lightbox";
import { attachmentId } from "./picture";
import { cardActions } from "./registries";

const MODEL = "aigen.image.request";
const hasPicture = (record) => Boolean(attachmentId(record.data));

cardActions
    .add(
        "enlarge",
        { title: _t("Enlarge"), icon: "fa-search-plus", isShown: hasPicture, onClick: openLightbox },
        { sequence: 10 }
    )
    .add(
        "download",
        {
            title: _t("Download"),
            icon: "fa-download",
            isShown: hasPicture,
            onClick: async (record, { services }) => {
                await services.action.doAction(await services.orm.call(MODEL, "action_download", [[record.resId]]));
            },
        },
        { sequence: 20 }
    )
    .add(
        "vary",
        {
            title: _t("Vary"),
            icon: "fa-random",
            isShown: hasPicture,
            onClick: async (record, { services }) => {
                const action = await services.orm.call(MODEL, "action_vary", [[record.resId]]);
                return action ? services.action.doAction(action) : true;
            },
        },
        { sequence: 30 }
    );
