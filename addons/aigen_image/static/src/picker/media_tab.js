import { Component, onWillStart } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { user } from "@web/core/user";
import { patch } from "@web/core/utils/patch";
import { PicturePicker } from "./picker";

const TAB = "AIGEN_PICTURES";
/** Odoo's tab for images. What is chosen in ours is added as if it was chosen there. */
const IMAGES = "IMAGES";

/** The tab of a media dialog in which pictures are chosen. The dialogs ask each tab for these lists. */
class PicturesTab extends Component {
    static template = "aigen_image.PicturesTab";
    static components = { PicturePicker };
    static props = ["*"];
    static tagNames = [];
    static mediaSpecificClasses = [];
    static mediaSpecificStyles = [];
    static mediaExtraClasses = [];

    get selectedIds() {
        return this.props.selectedMedia[TAB].map(({ id }) => id);
    }

    async select(picture) {
        if (this.isTaken) {
            return; // pressed twice: the dialog closes a moment after the first time
        }
        this.props.selectMedia(picture);
        if (!this.props.multiSelect) {
            this.isTaken = true;
            await this.props.save().catch((error) => {
                this.isTaken = false;
                throw error;
            });
        }
    }
}

/**
 * Adds the tab "AI images" to a media dialog, beside its tab for images, for people who may use AI images. `pagesOf` returns
 * the pages of a dialog.
 */
export function addPicturesTab(MediaDialog, pagesOf) {
    patch(MediaDialog.prototype, {
        setup() {
            // On the instance, because the dialogs that inherit from this one look at the active tab before they call it.
            const save = this.save.bind(this);
            let saving;
            this.save = () => {
                saving ??= this.takePictures()
                    .then(save)
                    .finally(() => (saving = undefined));
                return saving;
            };
            super.setup();
            onWillStart(async () => {
                if (await user.hasGroup("aigen_image.group_user")) {
                    this.addPicturesPage(pagesOf(this));
                }
            });
        },

        addPicturesPage(pages) {
            const place = pages.findIndex(({ id }) => id === IMAGES);
            if (place < 0) {
                return;
            }
            const images = pages[place].props;
            const selectMedia = (picture) => this.selectMedia(picture, TAB, images.multiSelect);
            this.selectedMedia[TAB] = [];
            pages.splice(place + 1, 0, {
                id: TAB,
                title: _t("AI images"),
                Component: PicturesTab,
                props: { ...images, id: TAB, selectMedia },
            });
        },

        /** Replaces the pictures that are chosen by images of the page, and goes on as if these had been chosen. */
        async takePictures() {
            const chosen = this.state.activeTab === TAB ? this.selectedMedia[TAB] : [];
            if (!chosen.length) {
                return;
            }
            const { resModel, resId } = this.props;
            const ids = chosen.map(({ id }) => id);
            const where = { res_model: resModel || false, res_id: resId || false };
            const images = await this.orm.call("aigen.image.request", "copy_for_editor", [ids], where);
            this.selectedMedia[IMAGES] = images.map((image) => ({ ...image, mediaType: "attachment" }));
            this.state.activeTab = IMAGES;
        },
    });
}
