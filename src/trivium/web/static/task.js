// The task page: steps, keys, dialogs, submit. Without this file the page is one plain form.

import { deliver, empty, keepDrafts, post } from "/static/save.js";

const form = document.getElementById("task");
const live = document.getElementById("live");
const saved = document.getElementById("saved");
const person = form.dataset.person;

// What happened to the task before is said once, not at every reload.
if (location.search) history.replaceState(null, "", location.pathname);

const say = (text) => { live.textContent = text; };
const status = (text, kept = false) => {
  saved.textContent = text;
  saved.classList.toggle("kept", kept);
};

// Dialogs
const openKeys = () => document.getElementById("keys").showModal();
const keysButton = document.getElementById("show-keys");
keysButton.hidden = false;
keysButton.addEventListener("click", openKeys);
for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
export function openSkip() {
  const skip = document.getElementById("skip");
  skip.open = true;
  skip.querySelector("input[type=radio]").focus();
}

// How the page is shown is remembered on this computer only
for (const box of document.querySelectorAll(".view input")) {
  box.checked = localStorage.getItem(`trivium.${box.id}`) === "yes";
  box.addEventListener("change", () => localStorage.setItem(`trivium.${box.id}`, box.checked ? "yes" : "no"));
}

// Drafts and submits
const done = keepDrafts(form, status);
const began = Date.now();
export const ways = { form, say, openKeys, openSkip, ready: () => true };

function refuse(text) {
  const doubt = document.getElementById("doubt");
  doubt.hidden = false;
  doubt.textContent = text;
  doubt.scrollIntoView({ block: "nearest" });
}
ways.refuse = refuse;

const forms = [form, document.querySelector("#skip form")];
/** While a label is on its way nothing can be changed: what is on the page is what is saved. */
const hold = (on) => forms.forEach((one) => { one.inert = on; });

async function submit(event) {
  const sender = event.target;
  const button = event.submitter;
  if (form.inert) return event.preventDefault();
  if (button?.formAction.endsWith("/flag") || button?.formAction.endsWith("/draft")) return;
  event.preventDefault();
  if (sender === form && button?.value !== "not_rankable" && !ways.ready()) return;
  const lead = document.createElement("input");
  Object.assign(lead, { type: "hidden", name: "lead_ms", value: Date.now() - began });
  sender.append(lead);
  const letter = post(person, sender.getAttribute("action"), sender, button);
  lead.remove();
  const here = document.activeElement;
  hold(true);
  status("sending…");
  const said = await deliver(person, letter, status);
  if (said.next) {
    done();
    return location.assign(said.next);
  }
  hold(false);
  here.focus({ preventScroll: true });
  refuse(said.problem);
  return status("");
}
for (const one of forms) one.addEventListener("submit", submit);
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !document.querySelector("dialog[open]")) {
    event.preventDefault();
    const skipping = event.target.closest?.("#skip form");
    (skipping ?? form).requestSubmit((skipping ?? form).querySelector(skipping ? "[data-skip]" : ".primary"));
  }
});

if (form.dataset.kind === "rank") {
  const { start } = await import("/static/rank.js");
  start(ways);
} else {
  form.dataset.step = "write";
  const text = form.elements.completion;
  const count = () => { document.getElementById("words").textContent = `${text.value.split(/\s+/).filter(Boolean).length} words`; };
  text.addEventListener("input", count);
  count();
  text.focus();
}
empty(person, status);
