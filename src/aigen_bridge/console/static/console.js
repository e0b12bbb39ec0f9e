// The script of the console: times in the reader's zone, dialogs, the keyboard, and the regions that renew themselves.
// Pages work without it, except that they do not renew themselves and show times in UTC.
"use strict";

// Times: in the reader's zone, with UTC beside.
const here = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const utc = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZone: "UTC" };
const offset = (date) => date.getTimezoneOffset();

function showTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([data-utc])")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const year = at.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" };
    time.textContent = at.toLocaleString("en-GB", { ...here, ...year }) + (offset(at) === 0 ? " UTC" : "");
    time.dataset.utc = offset(at) === 0 ? "" : `${at.toLocaleTimeString("en-GB", utc)} UTC`;
    time.title = at.toISOString();
  }
}

// Dialogs: a button with data-opens names one; data-fill gives fields their values, as JSON by name.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) {
    const dialog = document.getElementById(opener.dataset.opens);
    for (const [name, value] of Object.entries(JSON.parse(opener.dataset.fill || "{}"))) {
      for (const field of dialog.querySelectorAll(`[name="${name}"]`)) field.value = value;
      for (const text of dialog.querySelectorAll(`[data-shows="${name}"]`)) text.textContent = value;
    }
    if (opener.dataset.action) dialog.querySelector("form").action = opener.dataset.action;
    dialog.showModal();
    return;
  }
  if (event.target.closest("[data-closes]")) event.target.closest("dialog").close();
  const copier = event.target.closest("[data-copies]");
  if (copier) copy(copier);
});

async function copy(button) {
  const source = document.getElementById(button.dataset.copies);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(source); // without https, browsers give no clipboard
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

// Two clicks on one button are one action.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
  setTimeout(() => { delete form.dataset.sent; }, 3000);
});

// Selecting rows: the checkbox with data-selects checks all of that name; data-counts shows how many are checked.
document.addEventListener("change", (event) => {
  const name = event.target.dataset.selects;
  if (name) for (const box of document.querySelectorAll(`input[name="${name}"]`)) box.checked = event.target.checked;
  countSelected();
});

// A form with data-takes sends what is checked of that name, wherever the boxes are.
document.addEventListener("formdata", (event) => {
  const name = event.target.dataset.takes;
  if (name) for (const box of document.querySelectorAll(`input[name="${name}"]:checked`)) event.formData.append(name, box.value);
});

function countSelected() {
  for (const counter of document.querySelectorAll("[data-counts]")) {
    const number = document.querySelectorAll(`input[name="${counter.dataset.counts}"]:checked`).length;
    counter.textContent = number;
    for (const button of document.querySelectorAll(`[data-needs="${counter.dataset.counts}"]`)) button.disabled = number === 0;
  }
}

// The keyboard.
let afterG = false;
const rows = () => [...document.querySelectorAll("[data-row]")];

function moveTo(step) {
  const all = rows();
  if (all.length === 0) return;
  const at = all.findIndex((row) => row.contains(document.activeElement));
  const next = all[Math.max(0, Math.min(all.length - 1, at < 0 ? 0 : at + step))];
  (next.querySelector("a") || next).focus();
  next.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input:not([type=checkbox]), textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const link = afterG && document.querySelector(`.side [data-key="${CSS.escape(event.key)}"]`);
  afterG = event.key === "g" && !afterG;
  if (link) { link.click(); return; }
  const act = {
    "/": () => document.getElementById("find")?.focus(),
    "?": () => document.getElementById("keyboard")?.showModal(),
    "j": () => moveTo(1),
    "k": () => moveTo(-1),
    "x": () => document.activeElement.closest("[data-row]")?.querySelector("input[type=checkbox]")?.click(),
  }[event.key];
  if (act) { event.preventDefault(); act(); }
});

// Where one is, on a phone, whose menu is a strip.
document.querySelector(".side [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// Regions that renew themselves: not while nobody looks, or while somebody works in them.
function isBusy(region) {
  const selected = getSelection();
  const isMarking = !selected.isCollapsed && region.contains(selected.anchorNode);
  const isTyping = region.contains(document.activeElement) && document.activeElement.matches("input, textarea, select, summary");
  return document.hidden || isMarking || isTyping || region.querySelector("input:checked:not([type=radio])") || document.querySelector("dialog[open]");
}

document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.elt.matches("[hx-trigger*=every]") && isBusy(event.detail.elt)) event.preventDefault();
});

// The focus stays where it is: on the element of the new region that is like the one which had it.
const IDENTITY = ["id", "href", "data-opens", "data-action", "aria-label"];
const alike = (region, element) => [...region.querySelectorAll(element.tagName)].filter(
  (other) => IDENTITY.every((name) => other.getAttribute(name) === element.getAttribute(name)),
);
let focused = null;

document.addEventListener("htmx:beforeSwap", ({ detail: { target: region } }) => {
  const element = document.activeElement;
  focused = region.contains(element) && { id: region.id, element, place: alike(region, element).indexOf(element) };
});

document.addEventListener("htmx:afterSwap", () => {
  if (!focused || document.activeElement !== document.body) return;
  const found = alike(document.getElementById(focused.id), focused.element);
  (found[focused.place] || found[0])?.focus({ preventScroll: true });
});

function say(text) {
  const line = document.getElementById("connection");
  line.hidden = !text;
  if (line.textContent !== text) line.textContent = text;
}

document.addEventListener("htmx:afterRequest", (event) => {
  const { xhr, successful } = event.detail;
  const other = xhr.getResponseHeader("X-Console-Version");
  if (!successful) say(`Not up to date: the bridge ${xhr.status ? `answered ${xhr.status}` : "does not answer"}. Trying again.`);
  else if (other && other !== document.body.dataset.version) say(`The bridge was upgraded to ${other}. Load the page again.`);
  else say("");
});

// A page that could not be shown is shown as soon as it can be.
async function tryAgain() {
  try {
    const answer = await fetch(location.href, { method: "HEAD" });
    if (answer.status !== 503) { location.reload(); return; }
  } catch { /* the bridge does not answer, either */ }
  setTimeout(tryAgain, 3000);
}
if (document.querySelector("[data-retries]")) setTimeout(tryAgain, 3000);

document.addEventListener("htmx:load", (event) => { showTimes(event.detail.elt); countSelected(); });
showTimes(document);
countSelected();
