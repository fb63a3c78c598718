// Nothing typed is lost: every change goes into this browser at once and to the server a moment
// later; what is submitted waits in an outbox until the server has confirmed it.

const PAUSE_MS = 700;
const FIRST_WAIT_MS = 2000;
const LONGEST_WAIT_MS = 60000;
const AGAIN = new Set([408, 425, 429]); // refusals that time mends; 401 and 403 want a sign-in
const NOT_IN_DRAFTS = new Set(["token", "submission_id", "shown_ms", "lead_ms", "do"]);

const token = () => document.querySelector('input[name="token"]').value;

function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null; // no storage in this browser, or not ours
  }
}

function write(key, value) {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(value));
    return true;
  } catch {
    return false; // full or forbidden: the server's copy has to do
  }
}

function send(url, method, type, body, more = {}) {
  const headers = { "Content-Type": type, "X-CSRF-Token": token(), Accept: "application/json" };
  return fetch(url, { method, headers, body, credentials: "same-origin", ...more });
}

const refused = ({ status }) => status >= 400 && status < 500 && !AGAIN.has(status);
const signedOut = ({ status }) => status === 401 || status === 403;

/** What the server says, read to its end; a refusal before any page sees it is no JSON. */
async function words(answer) {
  const said = await answer.text();
  if (answer.ok || answer.headers.get("Content-Type")?.includes("json")) return JSON.parse(said);
  return { problem: `the server refused it: ${said.trim().slice(0, 200) || answer.status}` };
}

function fields(form) {
  const body = {};
  for (const [name, value] of new FormData(form)) {
    if (!NOT_IN_DRAFTS.has(name)) (body[name] ??= []).push(value);
  }
  return body;
}

function fill(form, body) {
  for (const field of form.elements) {
    if (!field.name || NOT_IN_DRAFTS.has(field.name) || field.type === "hidden") continue;
    const values = body[field.name] ?? [];
    if (field.type === "radio" || field.type === "checkbox") field.checked = values.includes(field.value);
    else field.value = values[0] ?? "";
  }
}

/** Keep drafts of `form`; returns a function to call when the task is done with. */
export function keepDrafts(form, status) {
  const key = `trivium.draft.${form.dataset.person}.${form.dataset.id}`;
  const known = read(key);
  let sequence = Number(form.dataset.sequence);
  let timer;
  let over = false;
  let dirty = false;
  if (known && known.sequence > sequence) {
    sequence = known.sequence;
    fill(form, known.body);
    status("brought back from this computer");
    dirty = true;
    timer = setTimeout(upload, PAUSE_MS);
  }

  function changed() {
    if (over) return;
    sequence = Math.max(Date.now(), sequence + 1);
    dirty = true;
    if (write(key, { sequence, body: fields(form) })) status("saved on this computer");
    clearTimeout(timer);
    timer = setTimeout(upload, PAUSE_MS);
  }

  async function upload(more = {}) {
    if (over || !dirty) return;
    const body = JSON.stringify({ sequence, body: fields(form) });
    const sent = sequence;
    try {
      const answer = await send(`/tasks/${form.dataset.id}/draft`, "PUT", "application/json", body, more);
      if (!answer.ok && (signedOut(answer) || !refused(answer))) throw new Error(answer.status);
      const said = await words(answer);
      if (sent === sequence) {
        dirty = false;
        if (said.kept) status("saved on the server");
        else status(said.problem ? `kept on this computer only, ${said.problem}` : "not saved, another window has saved a newer draft", true);
      }
    } catch {
      if (over) return;
      status("kept on this computer, the server can't be reached", true);
      timer = setTimeout(upload, FIRST_WAIT_MS * 5);
    }
  }

  form.addEventListener("input", changed);
  form.addEventListener("change", changed);
  addEventListener("pagehide", () => upload({ keepalive: true }));
  return () => {
    over = true;
    clearTimeout(timer);
    write(key, null);
  };
}

const outboxKey = (person) => `trivium.outbox.${person}`;

/** Put a submit where a crash cannot reach it. Its id makes sending it twice harmless. */
export function post(person, url, form, submitter) {
  const data = new FormData(form);
  if (submitter?.name) data.set(submitter.name, submitter.value);
  data.delete("token");
  const letter = { url, body: new URLSearchParams(data).toString(), id: data.get("submission_id") };
  const waiting = (read(outboxKey(person)) ?? []).filter((other) => other.id !== letter.id);
  write(outboxKey(person), [...waiting, letter]);
  return letter;
}

function forget(person, letter) {
  const left = (read(outboxKey(person)) ?? []).filter((other) => other.id !== letter.id);
  write(outboxKey(person), left.length ? left : null);
}

/** Send one letter until the server has it. Resolves to {next} or {problem}. */
export async function deliver(person, letter, status) {
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    let why = "the server can't be reached";
    try {
      const answer = await send(letter.url, "POST", "application/x-www-form-urlencoded", letter.body);
      if (signedOut(answer)) {
        return { problem: "You are signed out. Your work is kept on this computer and is sent when you sign in again.", signIn: true };
      }
      if (answer.ok || refused(answer)) {
        const said = await words(answer); // read first: half an answer is no answer
        forget(person, letter);
        return said;
      }
      why = answer.status === 507 ? "the server's disk is full" : "the server is busy";
    } catch {
      // offline: wait like for a busy server
    }
    status(`kept on this computer, ${why}; trying again in ${wait / 1000} s`, true);
    await new Promise((resolve) => {
      const again = setTimeout(resolve, wait);
      addEventListener("online", () => { clearTimeout(again); resolve(); }, { once: true });
    });
  }
}

/** Send what an earlier visit left behind. */
export async function empty(person, status) {
  for (const letter of read(outboxKey(person)) ?? []) {
    const said = await deliver(person, letter, status);
    if (said.signIn) return;
    status(said.problem ? `an answer kept here was refused: ${said.problem}` : "an answer kept here is now saved on the server", Boolean(said.problem));
  }
}
