/** What the gallery needs to know of a record of a picture, in Odoo 18 and 19. */

/** A card is not narrower or wider than this in proportion to its height: the words below the picture need room. */
const RATIOS = [0.65, 2.4];
const SIDES = /^(\d+)[x:](\d+)$/;

/** The id of the picture's file, or false. A many2one is `{id}` in Odoo 19, `[id, name]` in 18; read by itself, it is the id. */
export function attachmentId({ attachment_id: attachment }) {
    return attachment && (attachment.id ?? attachment[0] ?? attachment);
}

/** The width of the picture's card in proportion to its height. */
export function ratio({ resolution, shape }) {
    const [, width, height] = SIDES.exec(resolution || shape) || [null, 1, 1];
    return Math.min(Math.max(width / height, RATIOS[0]), RATIOS[1]);
}

/** Changes with the bytes, so that browsers may keep what they have. */
export function unique({ image_sha256: sha256 }) {
    return (sha256 || "").slice(0, 8);
}

/** Where the picture is, as large as it was made. */
export function pictureUrl(data) {
    return `/web/image/${attachmentId(data)}?unique=${unique(data)}`;
}

/** Where the small copy of the picture is. */
export function thumbnailUrl({ resId, data }) {
    const small = data.thumbnail
        ? `/web/image/aigen.image.request/${resId}/thumbnail`
        : `/web/image/${attachmentId(data)}/512x512`;
    return `${small}?unique=${unique(data)}`;
}

/** The records of a view that have a picture. */
export function withPicture(records) {
    return records.filter((record) => attachmentId(record.data));
}
