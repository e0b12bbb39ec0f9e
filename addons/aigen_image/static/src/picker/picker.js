import { Component, onWillDestroy, onWillStart, useState } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { KeepLast } from "@web/core/utils/concurrency";
import { useService } from "@web/core/utils/hooks";
import { useDebounced } from "@web/core/utils/timing";
import { Record } from "@web/model/record";
import { useFollower } from "../follower/follower_service";
import { attachmentId, thumbnailUrl } from "../gallery/picture";
import { useNews, watched } from "../news";
import { WORD_FIELDS } from "../words";
import { MomentField } from "../moment/moment_field";

const MODEL = "aigen.image.request";
/** Milliseconds after the last key until it is searched. */
const PAUSE = 300;
/** How many pictures of one prompt may be asked for at once. */
const VARIANTS = [1, 2, 4, 8];
const USUAL_VARIANTS = 4;
/** Milliseconds after which a picture that was asked for is read again without news: the bus may be away. */
const STALE = 5000;

/** A ready picture that can be chosen. */
class PickerTile extends Component {
    static template = "aigen_image.PickerTile";
    static props = { picture: Object, isSelected: Boolean, select: Function };

    get source() {
        return thumbnailUrl({ resId: this.props.picture.id, data: this.props.picture });
    }
}

/** A picture that was asked for here: how it stands, and then the picture. */
class AskedTile extends Component {
    static template = "aigen_image.AskedTile";
    static components = { MomentField, PickerTile };
    static props = { record: Object, isSelected: Boolean, select: Function };

    setup() {
        const { record } = this.props;
        let readAt = Date.now();
        const read = () => {
            readAt = Date.now();
            return record.load();
        };
        useNews(({ id }) => id === record.resId && read());
        useFollower({ answered: () => Date.now() - readAt > STALE && read() });
        watched.add(record.resId); // nobody needs to be told of it elsewhere
        onWillDestroy(() => watched.delete(record.resId));
    }

    get picture() {
        const { resId: id, data } = this.props.record;
        return { ...data, id, attachment_id: attachmentId(data) };
    }
}

/**
 * Ready pictures to choose from, and new ones in place. `select` is called with the picture that was pressed,
 * `{id, name}`; what is selected is up to the owner, who says so in `selectedIds`.
 */
export class PicturePicker extends Component {
    static template = "aigen_image.PicturePicker";
    static components = { AskedTile, PickerTile, Record };
    static props = { selectedIds: Array, select: Function };

    setup() {
        this.orm = useService("orm");
        this.pages = new KeepLast();
        this.offers = new KeepLast();
        this.model = MODEL;
        this.variants = VARIANTS;
        this.fieldNames = [
            ...WORD_FIELDS.map((field) => field.name),
            ...["name", "is_favorite", "attachment_id", "thumbnail", "image_sha256"],
        ];
        this.state = useState({
            needle: "",
            pictures: [],
            hasMore: false,
            asked: [],
            prompt: "",
            variants: USUAL_VARIANTS,
            offer: { shapes: [] },
            isAsking: false,
        });
        this.search = useDebounced(() => this.load(), PAUSE);
        onWillStart(() => Promise.all([this.load(), this.changeOffer({})]));
    }

    /** What was asked for here stands in front already. */
    get pictures() {
        return this.state.pictures.filter(({ id }) => !this.state.asked.includes(id));
    }

    get canAsk() {
        return Boolean(this.state.prompt.trim()) && !this.state.isAsking;
    }

    get askLabel() {
        const { variants, offer } = this.state;
        return offer.price
            ? _t("Generate %(number)s · about %(price)s", { number: variants, price: offer.price })
            : _t("Generate %s", variants);
    }

    isSelected(id) {
        return this.props.selectedIds.includes(id);
    }

    /** Reads the first page, or the one after those that are shown. */
    async load(offset = 0) {
        const page = await this.pages.add(this.orm.call(MODEL, "picker_search", [this.state.needle, offset]));
        this.state.pictures = offset ? [...this.state.pictures, ...page.pictures] : page.pictures;
        this.state.hasMore = page.has_more;
    }

    async changeOffer({ shape = this.state.offer.shape || "", variants = this.state.variants }) {
        this.state.variants = variants;
        this.state.offer = await this.offers.add(this.orm.call(MODEL, "picker_offer", [shape, variants]));
    }

    async ask() {
        this.state.isAsking = true;
        try {
            const { prompt, variants, offer } = this.state;
            const ids = await this.orm.call(MODEL, "picker_generate", [prompt, offer.shape, variants]);
            this.state.asked.unshift(...ids);
        } finally {
            this.state.isAsking = false;
        }
    }

    /** Ctrl+Enter asks. In a dialog it would press the first button. */
    onKeydown(event) {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
            event.stopPropagation();
            event.preventDefault();
            if (this.canAsk) {
                this.ask();
            }
        }
    }
}
