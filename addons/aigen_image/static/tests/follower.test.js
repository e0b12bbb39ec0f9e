import { beforeEach, describe, expect, test } from "@odoo/hoot";
import { advanceTime, mockDate, tick } from "@odoo/hoot-mock";
import { defineMailModels, start, startServer } from "@mail/../tests/mail_test_helpers";
import { getService, makeMockEnv, onRpc, serverState } from "@web/../tests/web_test_helpers";

describe.current.tags("headless");
defineMailModels();

let answer;
let questions;

beforeEach(() => {
    answer = () => true;
    questions = [];
    onRpc("aigen.image.request", "action_follow", ({ args, kwargs }) => {
        questions.push([...args[0], ...kwargs.log_ids.map((id) => `log ${id}`)].join(" "));
        return answer();
    });
});

async function startFollower() {
    mockDate("2026-01-31 14:00:00");
    await makeMockEnv();
    return getService("aigen_image.follower");
}

/** What was asked since the last time. */
function expectQuestions(...expected) {
    expect(questions.splice(0)).toEqual(expected);
}

/** Answers arrive between the seconds. */
async function pass(seconds) {
    for (let second = 0; second < seconds; second++) {
        await advanceTime(1000);
    }
}

function hide(isHidden) {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden });
    document.dispatchEvent(new Event("visibilitychange"));
}

test("all pictures of all views are asked about at once, every two seconds", async () => {
    const follower = await startFollower();
    for (let id = 24; id > 0; id--) {
        follower.follow(`card ${id}`, { id });
    }
    follower.follow("form", { id: 7 });
    follower.follow("log", { id: 7, log: true });
    const all = [...Array(24).keys()].map((index) => index + 1).join(" ") + " log 7";
    await advanceTime(0);
    expectQuestions(all);
    await advanceTime(1900);
    expectQuestions();
    await advanceTime(200);
    expectQuestions(all);
});

test("without a picture under way nobody is asked", async () => {
    const follower = await startFollower();
    follower.follow("form", { id: 7 });
    await advanceTime(0);
    expectQuestions("7");
    follower.leave("form");
    await advanceTime(60_000);
    expectQuestions();
});

test("a hidden tab asks nobody, and at once when it is looked at again", async () => {
    const follower = await startFollower();
    follower.follow("form", { id: 7 });
    await advanceTime(0);
    hide(true);
    await advanceTime(60_000);
    expectQuestions("7");
    hide(false);
    await advanceTime(0);
    expectQuestions("7");
    delete document.hidden;
});

test("the next question waits for the answer to the last one", async () => {
    const follower = await startFollower();
    let finish;
    answer = () => new Promise((resolve) => (finish = resolve));
    follower.follow("form", { id: 7 });
    await advanceTime(10_000);
    follower.follow("card", { id: 8 });
    await advanceTime(10_000);
    expectQuestions("7");
    finish(true);
    await tick();
    await advanceTime(2100);
    expectQuestions("7 8");
});

for (const [who, away] of [
    ["the bridge", () => false],
    ["Odoo", () => Promise.reject(new Error("away"))],
]) {
    test(`questions become rarer while ${who} is away`, async () => {
        answer = away;
        const follower = await startFollower();
        follower.follow("form", { id: 7 });
        await advanceTime(0);
        await advanceTime(3900);
        expectQuestions("7");
        await advanceTime(200);
        expectQuestions("7");
        await advanceTime(7800);
        expectQuestions();
        answer = () => true;
        await advanceTime(300);
        expectQuestions("7");
        await advanceTime(2100);
        expectQuestions("7");
    });
}

test("where nothing changes for three minutes, every ten seconds is enough, until something does", async () => {
    mockDate("2026-01-31 14:00:00");
    const env = await startServer();
    await start();
    const follower = getService("aigen_image.follower");
    follower.follow("form", { id: 7 });
    await advanceTime(0);
    await pass(185);
    expect(questions.splice(0).length).toBeGreaterThan(80);
    await pass(60);
    expect(questions.splice(0).length).toBeLessThan(8);
    const [partner] = env["res.partner"].read(serverState.partnerId);
    env["bus.bus"]._sendone(partner, "aigen_image.request/update", { id: 7, status: "dispatched", version: 2 });
    await pass(5);
    expect(questions.splice(0).length).toBeGreaterThan(1);
});
