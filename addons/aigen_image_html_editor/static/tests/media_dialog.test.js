import { describe, expect, test } from "@odoo/hoot";
import { click, dblclick, queryAllTexts } from "@odoo/hoot-dom";
import { animationFrame } from "@odoo/hoot-mock";
import { MediaDialog } from "@html_editor/main/media/media_dialog/media_dialog";
import { MainComponentsContainer } from "@web/core/main_components_container";
import { defineMailModels } from "@mail/../tests/mail_test_helpers";
import { defineModels, getService, models, mountWithCleanup, onRpc } from "@web/../tests/web_test_helpers";

describe.current.tags("desktop");

class Request extends models.Model {
    _name = "aigen.image.request";
}

defineMailModels();
defineModels([Request]);

const PICTURES = [11, 12].map((id) => ({ id, name: `Picture ${id}`, attachment_id: 100 + id, image_sha256: "ab" }));
const OFFER = { shapes: [["1:1", "Square"]], shape: "1:1", price: false };

function copyOf(id) {
    const image = { id: 200 + id, image_src: `/web/image/${200 + id}-ab/boat.png`, description: `<b>${id}</b>`, public: true };
    return { ...image, res_model: "ir.ui.view", mimetype: "image/png", url: false };
}

/** Opens a dialog as Odoo does. `save` and what the server is asked are steps. */
async function openDialog({ isAllowed = true, Dialog = MediaDialog, ...props } = {}) {
    onRpc("has_group", ({ args }) => args[1] === "aigen_image.group_user" && isAllowed);
    onRpc("aigen.image.request", "picker_search", () => ({ pictures: PICTURES, has_more: false }));
    onRpc("aigen.image.request", "picker_offer", () => OFFER);
    onRpc("aigen.image.request", "copy_for_editor", ({ args, kwargs }) => {
        expect.step(["copied", ...args[0], kwargs.res_model, kwargs.res_id]);
        return args[0].map(copyOf);
    });
    onRpc("ir.attachment", "*", () => []);
    await mountWithCleanup(MainComponentsContainer);
    getService("dialog").add(Dialog, {
        resModel: "ir.ui.view",
        resId: 7,
        save: (elements) => expect.step(["saved", ...[elements].flat().map((image) => [image.getAttribute("src"), image.alt, image.className])]),
        ...props,
    });
    await animationFrame();
    expect(".o_select_media_dialog").toHaveCount(1);
}

function savedImage(id) {
    return [`/web/image/${200 + id}-ab/boat.png`, `<b>${id}</b>`, "img img-fluid o_we_custom_image"];
}

test("a picture is chosen beside the images, and is added as one of them", async () => {
    await openDialog();
    expect(queryAllTexts(".nav-link").slice(0, 2)).toEqual(["Images", "AI images"]);
    await click(".nav-link:contains('AI images')");
    await animationFrame();
    await click(".o_aigen_pick[title='Picture 12']");
    await animationFrame();
    expect.verifySteps([["copied", 12, "ir.ui.view", 7], ["saved", savedImage(12)]]);
    expect(".o_select_media_dialog").toHaveCount(0);
});

test("who presses twice adds one image", async () => {
    await openDialog();
    await click(".nav-link:contains('AI images')");
    await animationFrame();
    await dblclick(".o_aigen_pick[title='Picture 11']");
    await animationFrame();
    expect.verifySteps([["copied", 11, "ir.ui.view", 7], ["saved", savedImage(11)]]);
    expect(".o_select_media_dialog").toHaveCount(0);
});

test("several are chosen where several images may be chosen", async () => {
    await openDialog({ multiImages: true });
    await click(".nav-link:contains('AI images')");
    await animationFrame();
    await click(".o_aigen_pick[title='Picture 11']");
    await click(".o_aigen_pick[title='Picture 12']");
    await animationFrame();
    expect(".o_aigen_picked").toHaveCount(2);
    await click("footer .btn-primary");
    await animationFrame();
    expect.verifySteps([["copied", 11, 12, "ir.ui.view", 7], ["saved", savedImage(11), savedImage(12)]]);
    expect(".o_select_media_dialog").toHaveCount(0);
});

test("a dialog that treats images by itself gets images", async () => {
    class OwnDialog extends MediaDialog {
        async save() {
            expect.step([this.state.activeTab, ...this.selectedMedia.IMAGES.map(({ id }) => id)]);
            this.props.close();
        }
    }
    await openDialog({ Dialog: OwnDialog, resModel: undefined, resId: undefined });
    await click(".nav-link:contains('AI images')");
    await animationFrame();
    await click(".o_aigen_pick[title='Picture 11']");
    await animationFrame();
    expect.verifySteps([["copied", 11, false, false], ["IMAGES", 211]]);
    expect(".o_select_media_dialog").toHaveCount(0);
});

for (const [why, props] of [
    ["people who may not use AI images", { isAllowed: false }],
    ["a dialog without images", { noImages: true, visibleTabs: ["ICONS"] }],
]) {
    test(`there is no such tab for ${why}`, async () => {
        await openDialog(props);
        expect(".nav-link:contains('Icons')").toHaveCount(1);
        expect(".nav-link:contains('AI images')").toHaveCount(0);
    });
}
