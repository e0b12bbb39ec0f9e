import { describe, expect, test } from "@odoo/hoot";
import { press, queryAllTexts, queryOne, setInputRange } from "@odoo/hoot-dom";
import { Deferred, advanceTime, animationFrame } from "@odoo/hoot-mock";
import { Component, xml } from "@odoo/owl";
import { defineMailModels } from "@mail/../tests/mail_test_helpers";
import {
    MockServer,
    contains,
    defineModels,
    fields,
    mockService,
    models,
    mountView,
    onRpc,
    patchWithCleanup,
} from "@web/../tests/web_test_helpers";
import { session } from "@web/session";
import { NEWS } from "@aigen_image/news";
import { banners, cardActions, selectionActions } from "@aigen_image/gallery/registries";

describe.current.tags("desktop");

class File extends models.Model {
    _name = "aigen.file";

    name = fields.Char();

    _records = [1, 2, 3, 4, 6].map((id) => ({ id, name: `${id}.png` }));
}

class Request extends models.Model {
    _name = "aigen.image.request";

    name = fields.Char();
    status = fields.Selection({
        selection: [
            ["draft", "New"],
            ["completed", "Ready"],
        ],
    });
    shape = fields.Char();
    resolution = fields.Char();
    attachment_id = fields.Many2one({ relation: "aigen.file" });
    image_sha256 = fields.Char();
    image_format = fields.Char();
    is_favorite = fields.Boolean();
    may_write = fields.Boolean();
    active = fields.Boolean({ default: true });
    mark = fields.Selection({ selection: [["unmarked", "<b>Not</b> marked"]] });
    rating = fields.Selection({ selection: ["0", "1", "2", "3", "4", "5"].map((one) => [one, one]) });

    _records = [1, 2, 3, 4, 5, 6].map((id) => ({
        id,
        name: id === 1 ? "<b>Boat</b>" : `Picture ${id}`,
        status: id === 5 ? "draft" : "completed",
        resolution: id === 5 ? false : "1344x768",
        shape: "9:16",
        attachment_id: id !== 5 && id,
        image_sha256: "0123456789abcdef",
        image_format: "png",
        may_write: id !== 6,
        rating: "0",
        mark: id === 1 && "unmarked",
    }));

    toggle_favorite(ids) {
        const isMissing = this.browse(ids).some((record) => !record.is_favorite);
        this.write(ids, { is_favorite: isMissing });
    }
}

defineMailModels();
defineModels([Request, File]);

const FIELDS = ["status", "shape", "resolution", "image_sha256", "image_format", "may_write", "active", "rating", "mark"];
const HIDDEN = FIELDS.map((name) => `<field name="${name}" invisible="1" column_invisible="1"/>`).join("");
const CARDS = `<kanban js_class="aigen_gallery">${FIELDS.map((name) => `<field name="${name}"/>`).join("")}
    <templates><t t-name="card">
        <div class="o_aigen_thumb">
            <img t-if="record.attachment_id.raw_value" src="data:image/gif;base64,R0lGODlhAQABAAAAACw="/>
            <field name="is_favorite" widget="aigen_favorite" nolabel="1"/>
        </div>
        <field name="attachment_id"/>
        <field name="name" class="o_name"/>
    </t></templates></kanban>`;
const ROWS = `<list js_class="aigen_list"><field name="name"/><field name="attachment_id"/>${HIDDEN}</list>`;

const CARD = ".o_kanban_record:not(.o_kanban_ghost)";
const card = (index) => `${CARD}:eq(${index})`;
const select = (index, how) => contains(`${card(index)} .o_aigen_select input`).click(how);
const pressBar = (key) => contains(`.o_aigen_selection [data-action=${key}]`).click();
const mount = (context = {}) => mountView({ resModel: "aigen.image.request", type: "kanban", arch: CARDS, context });

/** A registry without what other modules add, and as it was after the test. */
function only(category, key, value) {
    patchWithCleanup(category, { getEntries: () => [[key, value]] });
}

/** Tells the gallery that a picture moved on. To be called before it is mounted. */
function mockNews() {
    const listeners = [];
    mockService("bus_service", {
        subscribe(kind, listener) {
            listeners.push(kind === NEWS ? listener : () => {});
            return super.subscribe(kind, listener);
        },
    });
    return () => listeners.forEach((listener) => listener({ id: 5, status: "queued" }));
}

test("a card is as wide as its picture, within limits, and words of others are text", async () => {
    await mount();
    expect(card(0)).toHaveStyle({ "--aigen-ratio": "1.75" });
    expect(card(4)).toHaveStyle({ "--aigen-ratio": "0.65" });
    expect(`${card(0)} .o_name`).toHaveText("<b>Boat</b>");
    expect(`${card(0)} .o_aigen_select input`).toHaveAttribute("aria-label", "Select <b>Boat</b>");
});

test("a click beside the picture opens it, and one on it enlarges it", async () => {
    mockService("action", { doAction: (action) => expect.step(action.res_id) });
    await mountView({
        resModel: "aigen.image.request",
        type: "kanban",
        arch: CARDS,
        selectRecord: (resId) => expect.step(`open ${resId}`),
    });
    await contains(`${card(1)} .o_name`).click();
    expect.verifySteps(["open 2"]);
    await contains(`${card(1)} img`).click();
    expect(".o-FileViewer-viewImage").toHaveAttribute("data-src", /\/web\/image\/2\?.*unique=01234567/);
    await contains(".o_aigen_open").click();
    expect.verifySteps([2]);
    expect(".o-FileViewer").toHaveCount(0);
});

test("a button of a card that is pressed twice does it once", async () => {
    const answer = new Deferred();
    onRpc("action_vary", ({ args }) => {
        expect.step(args[0]);
        return answer;
    });
    await mount();
    const vary = `${card(0)} .o_aigen_action[data-action=vary]`;
    await contains(vary).click();
    await contains(vary).click();
    expect.verifySteps([[1]]);
    answer.resolve(false);
    await animationFrame();
    await contains(vary).click();
    expect.verifySteps([[1]]);
});

test("the arrow keys go through the pictures, and what has none is left out", async () => {
    await mount();
    await contains(`${card(3)} .o_aigen_action[data-action=enlarge]`).click();
    const shown = () => document.querySelector(".o-FileViewer-viewImage").dataset.src.match(/image\/(\d+)/)[1];
    const seen = [shown()];
    for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft"]) {
        await press(key);
        await animationFrame();
        seen.push(shown());
    }
    expect(seen).toEqual(["4", "6", "1", "6"]);
    await press("Escape");
    await animationFrame();
    expect(".o-FileViewer").toHaveCount(0);
});

test("an enlarged picture is rated and kept by keys, the same rating takes it back", async () => {
    onRpc("web_save", ({ args }) => expect.step(args[1]));
    await mount();
    await contains(`${card(0)} img`).click();
    await press("4");
    await animationFrame();
    expect(".o_aigen_stars .fa-star").toHaveCount(4);
    await press("f");
    await animationFrame();
    expect(".o_aigen_favorite").toHaveAttribute("aria-pressed", "true");
    await press("4");
    await animationFrame();
    expect(".o_aigen_stars .fa-star").toHaveCount(0);
    expect.verifySteps([{ rating: "4" }, { rating: "0" }]);
    expect(`${card(0)} .o_favorite .fa-star`).toHaveCount(1);
});

test("an enlarged picture shows its mark", async () => {
    await mount();
    await contains(`${card(0)} img`).click();
    expect(".o_aigen_mark").toHaveAttribute("title", "<b>Not</b> marked");
    expect(".o_aigen_mark").toHaveText("<b>Not</b> marked");
    expect(".o_aigen_mark .fa").toHaveClass("fa-circle-o");
    await press("ArrowRight");
    await animationFrame();
    expect(".o_aigen_mark").toHaveCount(0);
});

test("labelled copies are offered if labels are switched on", async () => {
    onRpc("action_download_labelled", ({ args }) => {
        expect.step(args[0]);
        return { type: "ir.actions.act_window_close" };
    });
    await mount();
    await select(1);
    expect(".o_aigen_selection [data-action=download_labelled]").toHaveCount(0);
    patchWithCleanup(session, { aigen_label: true });
    await select(2);
    await pressBar("download_labelled");
    expect.verifySteps([[2, 3]]);
});

test("what one may only look at is not rated", async () => {
    onRpc("web_save", () => expect.step("written"));
    await mount();
    await contains(`${card(5)} img`).click();
    expect(".o_aigen_stars").toHaveCount(0);
    await press("4");
    await animationFrame();
    expect.verifySteps([]);
});

test("the star needs no right to write", async () => {
    onRpc("web_save", () => expect.step("written"));
    onRpc("toggle_favorite", ({ args }) => {
        expect.step(args[0]);
    });
    await mount();
    await contains(`${card(5)} .o_favorite a`).click();
    expect(`${card(5)} .o_favorite .fa-star`).toHaveCount(1);
    expect.verifySteps([[6]]);
});

test("pictures are selected one by one and as a range, and a click then selects", async () => {
    await mount();
    await select(1);
    await select(3, { shiftKey: true });
    expect(".o_aigen_count").toHaveText("3 selected");
    await contains(`${card(0)} img`).click();
    expect(".o_aigen_count").toHaveText("4 selected");
    expect(".o-FileViewer").toHaveCount(0);
    await select(2, { shiftKey: true });
    expect(queryAllTexts(".o_aigen_selected .o_name")).toEqual(["Picture 4"]);
    await pressBar("all");
    expect(".o_aigen_count").toHaveText("6 selected");
    await press("Escape");
    await animationFrame();
    expect(".o_aigen_selection").toHaveCount(0);
    expect(".o_aigen_selected").toHaveCount(0);
});

test("the keys that press a button press those of a card", async () => {
    await mount();
    queryOne(`${card(1)} .o_favorite a`).focus();
    await press("Enter");
    await animationFrame();
    expect(`${card(1)} .o_favorite .fa-star`).toHaveCount(1);
    queryOne(`${card(2)} .o_aigen_select input`).focus();
    await press(" ");
    await animationFrame();
    expect(queryAllTexts(".o_aigen_selected .o_name")).toEqual(["Picture 3"]);
    await press("Escape");
    queryOne(`${card(3)} [data-action=enlarge]`).focus();
    await press("Enter");
    await animationFrame();
    expect(".o-FileViewer").toHaveCount(1);
    await press("Escape");
    await animationFrame();
    expect(".o-FileViewer").toHaveCount(0);
    expect(`${card(3)} [data-action=enlarge]`).toBeFocused();
});

test("what has the focus while the gallery reads itself again keeps it, and shows what is new", async () => {
    const tell = mockNews();
    await mount();
    queryOne(`${card(1)} .o_aigen_select input`).focus();
    const [picture] = MockServer.env["aigen.image.request"].browse(2);
    picture.name = "Another name";
    tell();
    await advanceTime(3000);
    await animationFrame();
    expect(`${card(1)} .o_name`).toHaveText("Another name");
    expect(`${card(1)} .o_aigen_select input`).toBeFocused();
});

test("what is selected while the gallery reads itself again stays selected", async () => {
    let reading;
    const tell = mockNews();
    onRpc("web_search_read", () => {
        expect.step("read");
        return reading;
    });
    await mount();
    reading = new Deferred();
    tell();
    await advanceTime(3000);
    expect.verifySteps(["read", "read"]);
    await select(1);
    reading.resolve();
    await animationFrame();
    await animationFrame();
    await animationFrame();
    expect(queryAllTexts(".o_aigen_selected .o_name")).toEqual(["Picture 2"]);
});

test("what is done to a selection is done to all of it, and only what may be is offered", async () => {
    onRpc("toggle_favorite", ({ args }) => {
        expect.step(["favorite", args[0]]);
    });
    onRpc("action_archive", ({ args }) => expect.step(["archive", args[0]]));
    await mount();
    await select(1);
    await select(5);
    expect(".o_aigen_selection [data-action=compare]").toHaveCount(1);
    expect(".o_aigen_selection [data-action=delete]").toHaveCount(0);
    await pressBar("favorite");
    expect(".o_aigen_selection").toHaveCount(0);
    await select(1);
    await select(2);
    await select(3);
    expect(".o_aigen_selection [data-action=compare]").toHaveCount(0);
    await pressBar("archive");
    expect.verifySteps([
        ["favorite", [2, 6]],
        ["archive", [2, 3, 4]],
    ]);
});

test("before pictures are deleted it is said what is lost", async () => {
    onRpc("describe_deletion", ({ args }) => `${args[0].length} pictures <b>go</b>.`);
    onRpc("unlink", ({ args }) => expect.step(args[0]));
    await mount();
    await select(0);
    await select(1);
    await pressBar("delete");
    expect(".modal-body").toHaveText("2 pictures <b>go</b>.");
    await contains(".modal-footer .btn-secondary").click();
    expect.verifySteps([]);
    expect(".o_aigen_count").toHaveText("2 selected");
    await pressBar("delete");
    await contains(".modal-footer .btn-danger").click();
    expect.verifySteps([[1, 2]]);
    expect(".o_aigen_selection").toHaveCount(0);
});

test("two pictures are compared with the slider, by pointer and by keys", async () => {
    await mount();
    await select(0);
    await select(2);
    await pressBar("compare");
    expect(".o_aigen_compare_stage img:eq(0)").toHaveAttribute("data-src", /image\/3/);
    expect(".o_aigen_compare_stage img:eq(1)").toHaveAttribute("data-src", /image\/1/);
    expect(".o_aigen_compare_stage").toHaveStyle({ "--aigen-share": "50%" });
    setInputRange(".o_aigen_compare input", 80);
    await animationFrame();
    expect(".o_aigen_compare_stage").toHaveStyle({ "--aigen-share": "80%" });
    expect(".o_aigen_compare input").toHaveAttribute("aria-valuetext", "80 percent of the left picture");
    await contains(".o_aigen_compare_names button:eq(1)").click();
    expect(".o_aigen_compare_names .fa-star").toHaveCount(1);
    expect(MockServer.env["aigen.image.request"].browse(3)[0].is_favorite).toBe(true);
});

test("other modules show something above the pictures, by the context", async () => {
    class Banner extends Component {
        static template = xml`<p class="o_banner" t-esc="props.batchId"/>`;
        static props = { batchId: Number };
    }
    only(banners, "test", {
        Component: Banner,
        isShown: (context) => context.aigen_batch_id,
        getProps: (context) => ({ batchId: context.aigen_batch_id }),
    });
    await mount();
    expect(".o_banner").toHaveCount(0);
    await mount({ aigen_batch_id: 7 });
    expect(".o_banner").toHaveText("7");
});

test("other modules add buttons to a picture and to the selected ones", async () => {
    only(cardActions, "use", {
        title: "Use",
        icon: "fa-check",
        isShown: (record, context) => record.data.status === "completed" && context.is_wanted,
        onClick: async (record) => expect.step(`use ${record.resId}`),
    });
    only(selectionActions, "board", {
        title: "Add to board",
        icon: "fa-th",
        isShown: () => true,
        onClick: async (ids) => {
            expect.step(`board ${ids}`);
            return true;
        },
    });
    await mount({ is_wanted: true });
    expect(`${card(4)} .o_aigen_action`).toHaveCount(0);
    await contains(`${card(1)} .o_aigen_action[data-action=use]`).click();
    await select(1);
    await pressBar("board");
    expect.verifySteps(["use 2", "board 2"]);
    expect(".o_aigen_selection").toHaveCount(0);
});

test("the list offers the same, and does not ask before it archives", async () => {
    onRpc("action_archive", ({ args }) => expect.step(["archive", args[0]]));
    onRpc("describe_deletion", () => "They go.");
    await mountView({ resModel: "aigen.image.request", type: "list", arch: ROWS, actionMenus: {}, loadActionMenus: true });
    await contains(".o_data_row:eq(0) input[type=checkbox]").click();
    await contains(".o_data_row:eq(1) input[type=checkbox]").click();
    await contains(".o_cp_action_menus button").click();
    const items = queryAllTexts(".o-dropdown-item");
    for (const item of ["Compare", "Favourite", "Tags", "Download", "Archive", "Delete"]) {
        expect(items).toInclude(item);
    }
    await contains(".o-dropdown-item:contains(/^Archive$/)").click();
    expect.verifySteps([["archive", [1, 2]]]);
    expect(".modal").toHaveCount(0);
});

test("the form says what is lost before it deletes", async () => {
    onRpc("describe_deletion", ({ args }) => {
        expect.step(args[0]);
        return "It goes.";
    });
    await mountView({
        resModel: "aigen.image.request",
        type: "form",
        resId: 1,
        arch: `<form js_class="aigen_form"><field name="name"/></form>`,
        actionMenus: {},
        loadActionMenus: true,
    });
    await contains(".o_cp_action_menus button").click();
    await contains(".o-dropdown-item:contains(/^Delete$/)").click();
    expect.verifySteps([[1]]);
    expect(".modal-body").toHaveText("It goes.");
});
