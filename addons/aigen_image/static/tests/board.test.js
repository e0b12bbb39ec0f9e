import { describe, expect, test } from "@odoo/hoot";
import { click } from "@odoo/hoot-dom";
import { animationFrame } from "@odoo/hoot-mock";
import { defineMailModels } from "@mail/../tests/mail_test_helpers";
import { contains, defineModels, fields, mockService, models, mountView, onRpc } from "@web/../tests/web_test_helpers";

describe.current.tags("desktop");

class File extends models.Model {
    _name = "aigen.file";

    name = fields.Char();

    _records = [{ id: 7, name: "boat.png" }];
}

class Request extends models.Model {
    _name = "aigen.image.request";

    name = fields.Char();
    attachment_id = fields.Many2one({ relation: "aigen.file" });
    may_write = fields.Boolean();
    may_take_off = fields.Boolean();
    may_set_cover = fields.Boolean();

    _records = [
        { id: 1, name: "Boat", attachment_id: 7, may_write: true, may_take_off: true, may_set_cover: true },
        { id: 2, name: "Of another", attachment_id: 7 },
        { id: 3, name: "Under way", may_write: true },
    ];
}

class Board extends models.Model {
    _name = "aigen.image.board";

    name = fields.Char();
    description = fields.Text();
    visibility = fields.Char();
    active = fields.Boolean({ default: true });
    is_mine = fields.Boolean();
    may_add = fields.Boolean();
    may_edit = fields.Boolean();

    _records = [
        { id: 1, name: "<b>Autumn</b>", visibility: "private", is_mine: true, may_add: true, may_edit: true },
        { id: 2, name: "Of Bob", visibility: "shared", may_add: true },
        { id: 3, name: "To look at", visibility: "company", description: "For <i>all</i>" },
    ];
}

defineMailModels();
defineModels([File, Request, Board]);

const ARCH = `<kanban js_class="aigen_gallery">
    <field name="attachment_id"/><field name="may_write"/><field name="may_take_off"/><field name="may_set_cover"/>
    <templates><t t-name="card"><field name="name"/></t></templates>
</kanban>`;
const BANNER = ".o_aigen_board_banner";
const card = (name) => `.o_kanban_record:contains(${name})`;
const mountGallery = (context) => mountView({ resModel: "aigen.image.request", type: "kanban", arch: ARCH, context });

function boardCalls() {
    onRpc("aigen.image.board", "*", ({ args, method }) => {
        if (["add_pictures", "remove_pictures", "set_cover"].includes(method)) {
            expect.step([method, ...args]);
            return true;
        }
    });
}

test("above a board's pictures stands what it is, and what one may do with it", async () => {
    await mountGallery({ aigen_board_id: 1 });
    expect(`${BANNER} strong`).toHaveText("<b>Autumn</b>");
    expect(BANNER).toHaveText(/Private/);
    expect(`${BANNER} button`).toHaveCount(3);
});

test("of a board of others one sees what one may do only", async () => {
    await mountGallery({ aigen_board_id: 2 });
    expect(BANNER).toHaveText(/Shared with people and groups/);
    expect(`${BANNER} button`).toHaveCount(1);
    expect(`${BANNER} button[name=pick]`).toHaveCount(1);
});

test("a board to look at has no buttons", async () => {
    await mountGallery({ aigen_board_id: 3 });
    expect(BANNER).toHaveText(/Whole company/);
    expect(BANNER).toHaveText(/For <i>all<\/i>/);
    expect(`${BANNER} button`).toHaveCount(0);
});

test("a board that is gone says so", async () => {
    await mountGallery({ aigen_board_id: 4 });
    expect(BANNER).toHaveText("This board is gone, or it is not shared with you any more.");
});

test("the gallery of all pictures has no banner", async () => {
    await mountGallery({});
    expect(BANNER).toHaveCount(0);
});

test("an own picture is added to a board, others and those under way are not", async () => {
    onRpc("aigen.image.request", "action_add_to_board", ({ args }) => {
        expect.step(args[0]);
        return { type: "ir.actions.act_window", target: "new" };
    });
    mockService("action", { doAction: (action, { onClose }) => onClose() });
    await mountGallery({});
    expect("button[data-action=board]").toHaveCount(1);
    await click(`${card("Boat")} button[data-action=board]`);
    await animationFrame();
    expect.verifySteps([[1]]);
});

test("a picture is taken off the board, and made its cover", async () => {
    boardCalls();
    await mountGallery({ aigen_board_id: 1 });
    expect("button[data-action=board]").toHaveCount(0);
    expect("button[data-action=take_off]").toHaveCount(1);
    await click(`${card("Boat")} button[data-action=take_off]`);
    await animationFrame();
    await contains(`${card("Boat")} .o_aigen_select input`).click();
    await contains(".o_aigen_selection button[data-action=cover]").click();
    expect.verifySteps([
        ["remove_pictures", [1], [1]],
        ["set_cover", [1], 1],
    ]);
});

test("pictures are chosen for a board, one by one or several", async () => {
    boardCalls();
    await mountGallery({ aigen_pick_board: { id: 5, name: "<b>Autumn</b>" } });
    expect(BANNER).toHaveText(/Choose pictures for <b>Autumn<\/b>/);
    await click(`${card("Boat")} button[data-action=pick]`);
    await animationFrame();
    await contains(`${card("Boat")} .o_aigen_select input`).click();
    await contains(`${card("Under way")} .o_aigen_select input`).click();
    await contains(".o_aigen_selection button[data-action=pick]").click();
    expect.verifySteps([
        ["add_pictures", [5], [1]],
        ["add_pictures", [5], [1, 3]],
    ]);
});
