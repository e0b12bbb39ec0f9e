import { registry } from "@web/core/registry";

const open = (menu) => [
    { trigger: ".o_navbar_apps_menu button:enabled", run: "click" },
    { trigger: ".o_app[data-menu-xmlid='aigen_image.menu_root']", run: "click" },
    { trigger: `[data-menu-xmlid='aigen_image.${menu}']`, run: "click" },
];
const BOARD = ".o_aigen_boards .o_kanban_record:contains('Autumn')";
const settings = [
    ...open("menu_boards"),
    { trigger: BOARD, run: "hover && click .o_dropdown_kanban button" },
    { trigger: ".dropdown-item:contains('Settings and sharing')", run: "click" },
    { trigger: ".o_form_view [name=name] input:value(Autumn)" },
];
const save = [
    { trigger: ".o_form_button_save", run: "click" },
    { trigger: ".o_form_saved, .o_form_view:not(:has(.o_form_button_save:visible))" },
];

/** Ann puts a picture on a new board, and shares the board with Bob. */
registry.category("web_tour.tours").add("aigen_board_share_tour", {
    url: "/odoo",
    steps: () => [
        ...open("menu_boards"),
        { trigger: ".o_nocontent_help:contains('Collect pictures on a board')" },
        ...open("menu_pictures"),
        { trigger: ".o_aigen_gallery .o_kanban_record:contains('A lighthouse') .o_aigen_select input", run: "click" },
        { trigger: ".o_aigen_selection button[data-action=board]", run: "click" },
        { trigger: ".modal [name=board_id] input", run: "edit Autumn" },
        { trigger: ".modal .o-autocomplete--dropdown-item:contains('Create \"Autumn')", run: "click" },
        { trigger: ".modal button[name=action_add]", run: "click" },
        { trigger: ".o_notification:contains('Autumn')" },
        { trigger: "body:not(:has(.modal))" },
        ...settings,
        { trigger: "[name=visibility] input[data-value=shared]", run: "click" },
        { trigger: "[name=user_ids] input", run: "edit aigen_bob" },
        { trigger: ".o-autocomplete--dropdown-item:contains('aigen_bob')", run: "click" },
        { trigger: "[name=user_ids] .o_tag, [name=user_ids] .o_m2m_avatar" },
        ...save,
    ],
});

/** Bob sees it, with its picture, and can change nothing. */
registry.category("web_tour.tours").add("aigen_board_seen_tour", {
    url: "/odoo",
    steps: () => [
        ...open("menu_boards"),
        { trigger: `${BOARD} .o_aigen_mosaic img` },
        { trigger: `${BOARD} .o_aigen_mosaic`, run: "click" },
        { trigger: ".o_aigen_board_banner:contains('Autumn'):contains('Shared with people and groups')" },
        { trigger: ".o_aigen_board_banner:not(:has(button))" },
        { trigger: ".o_aigen_gallery .o_aigen_thumb img" },
        { trigger: ".o_kanban_record:not(:has(button[data-action=take_off]))" },
    ],
});

/** Ann keeps it to herself again. */
registry.category("web_tour.tours").add("aigen_board_revoke_tour", {
    url: "/odoo",
    steps: () => [...settings, { trigger: "[name=visibility] input[data-value=private]", run: "click" }, ...save],
});

/** Bob sees it no more. */
registry.category("web_tour.tours").add("aigen_board_gone_tour", {
    url: "/odoo",
    steps: () => [...open("menu_boards"), { trigger: ".o_nocontent_help:contains('Collect pictures on a board')" }],
});
