import { Component, reactive, useState, xml } from "@odoo/owl";
import { describe, expect, test } from "@odoo/hoot";
import { animationFrame } from "@odoo/hoot-mock";
import { defineMailModels } from "@mail/../tests/mail_test_helpers";
import { mountWithCleanup } from "@web/../tests/web_test_helpers";
import { useCurrentRecord } from "@aigen_image/current_record";

describe.current.tags("desktop");
defineMailModels();

let seen;

class Field extends Component {
    static template = xml`<span />`;
    static props = ["record"];

    setup() {
        useCurrentRecord(({ id, data }) => void seen.push(`${id} ${data.status}`));
    }
}

class Form extends Component {
    static components = { Field };
    static template = xml`<Field record="state.record" />`;
    static props = ["*"];

    setup() {
        this.state = useState({ record: this.props.record });
    }
}

const recordWith = (id, status) => reactive({ id, data: { status } });

test("what changes in the record is seen", async () => {
    seen = [];
    const record = recordWith("datapoint_1", "draft");
    await mountWithCleanup(Form, { props: { record } });
    record.data.status = "queued";
    await animationFrame();
    expect(seen).toEqual(["datapoint_1 draft", "datapoint_1 queued"]);
});

test("a record that changed and was replaced in the same frame is not looked at any more", async () => {
    seen = [];
    const [saved, read] = [recordWith("datapoint_1", "draft"), recordWith("datapoint_2", "queued")];
    const form = await mountWithCleanup(Form, { props: { record: saved } });
    saved.data.status = "waiting";
    form.state.record = read;
    await animationFrame();
    await animationFrame();
    expect(seen).toEqual(["datapoint_1 draft", "datapoint_2 queued"]);
    read.data.status = "completed";
    await animationFrame();
    expect(seen.at(-1)).toBe("datapoint_2 completed");
});
