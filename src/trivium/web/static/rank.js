// Rate one answer at a time, then rank them all: the steps and the keys.

import { allowDragging, cards, describe, doubts, gather, inOrder, rankOf, ratingOf, setRank, setRating, settle, step, tie, unranked } from "/static/board.js";

const bar = document.querySelector(".steps");
const comparison = document.getElementById("comparison");
const wide = matchMedia("(min-width: 48rem)");
let ways;
let current = 0;
let marked = null;
let doubted = "";

const ranking = () => ways.form.dataset.step === "rank";

function paint() {
  [...bar.querySelectorAll("button")].forEach((button, i) => {
    const here = ranking() ? i === cards.length : i === current;
    if (here) button.setAttribute("aria-current", "step");
    else button.removeAttribute("aria-current");
    button.toggleAttribute("data-done", i < cards.length ? ratingOf(cards[i]) > 0 : !unranked().length);
  });
  bar.querySelector(".what").textContent = ranking() ? "Now rank them; ties are welcome" : `Rate answer ${current + 1} of ${cards.length}`;
  bar.querySelector(".hint").textContent = ranking() ? ` · keys 1 to ${cards.length}, = ties` : " · keys 1 to 7";
  cards.forEach(describe);
}

function showRating(index) {
  document.body.dataset.step = ways.form.dataset.step = "rate"; // a dragged card hangs from the body
  current = Math.max(0, Math.min(index, cards.length - 1));
  gather();
  cards.forEach((card, i) => {
    card.classList.toggle("current", i === current);
    card.classList.remove("editing");
    card.querySelector(".flags").open = wide.matches || card.querySelector(".chips input:checked") !== null;
  });
  paint();
  cards[current].focus({ preventScroll: true });
}

function showRanking() {
  document.body.dataset.step = ways.form.dataset.step = "rank";
  cards.forEach((card) => { card.querySelector(".flags").open = true; });
  settle();
  paint();
  (unranked()[0] ?? inOrder()[0]).focus({ preventScroll: true });
  scrollTo({ top: 0 });
  ways.say(`All rated. Now rank ${cards.length} answers; equal ranks are ties.`);
}

/** After a rating: the next answer without one, or the ranking. */
function onwards() {
  const later = cards.findIndex((card, i) => i > current && !ratingOf(card));
  const next = later < 0 ? cards.findIndex((card) => !ratingOf(card)) : later;
  if (next < 0) showRanking();
  else showRating(next);
}

function rate(card, value) {
  if (!setRating(card, value, ways.say)) return;
  if (ranking()) paint();
  else onwards();
}

function edit(card, focusOn) {
  if (ranking()) {
    const open = focusOn ? true : !card.classList.contains("editing");
    card.classList.toggle("editing", open);
    card.querySelector(".edit").setAttribute("aria-expanded", String(open));
  }
  if (!focusOn) return;
  card.querySelector(".flags").open = true;
  card.querySelector(focusOn).focus();
}

function more(card) {
  const open = card.classList.toggle("open");
  const button = card.querySelector(".more");
  button.textContent = open ? "Less" : "More";
  button.setAttribute("aria-expanded", String(open));
}

async function compare(card) {
  const first = marked;
  marked = first ? null : card;
  for (const other of cards) other.querySelector(".compare").setAttribute("aria-pressed", String(other === marked));
  if (!first) return ways.say(`Answer ${card.dataset.letter} marked. Choose another to compare it with.`);
  if (first === card) return ways.say("No longer marked.");
  const shown = comparison.querySelector(".shown");
  try {
    const answer = await fetch(`/tasks/${ways.form.dataset.id}/compare?a=${first.dataset.letter}&b=${card.dataset.letter}&part=1`);
    if (!answer.ok) throw new Error(answer.status);
    shown.innerHTML = await answer.text(); // our own server's page, escaped there
  } catch {
    shown.textContent = "The server can't be reached; comparing needs it.";
  }
  return comparison.showModal();
}

function neighbour(card, by) {
  if (!ranking()) return showRating(current + by);
  const order = inOrder();
  return order[(order.indexOf(card) + by + order.length) % order.length].focus();
}

const keys = {
  f: (card) => edit(card, ".chips input"),
  d: compare,
  s: () => ways.openSkip(),
  "?": () => ways.openKeys(),
  j: (card) => neighbour(card, 1),
  k: (card) => neighbour(card, -1),
};
const rankKeys = {
  ArrowUp: (card, event) => step(card, -1, { say: ways.say, swap: event.shiftKey }),
  ArrowDown: (card, event) => step(card, 1, { say: ways.say, swap: event.shiftKey }),
  "=": (card) => tie(card, ways.say),
  Backspace: (card) => setRank(card, 0, { say: ways.say }),
  " ": more,
};

function onKey(event) {
  const card = event.target.closest?.(".answer");
  if (!card || event.ctrlKey || event.metaKey || event.isComposing) return;
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code)?.[1];
  const own = event.target.matches("input, button, summary"); // arrows and space are theirs
  let action = null;
  if (digit && (event.altKey || !ranking())) action = () => rate(card, digit);
  else if (event.altKey) return;
  else if (digit && !event.shiftKey) action = () => setRank(card, Number(digit), { say: ways.say });
  else if (ranking() && !(own && /^Arrow|^ $/.test(event.key))) action = rankKeys[event.key];
  action ??= keys[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action(card, event);
}

function onClick(event) {
  const card = event.target.closest(".answer");
  if (!card) return;
  if (event.target.matches(".more")) more(card);
  else if (event.target.matches(".edit")) edit(card);
  else if (event.target.matches(".compare")) compare(card);
  // detail counts pointer clicks; arrow keys in a group of radio buttons click with detail 0
  else if (event.detail && event.target.matches(".rating input") && !ranking()) onwards();
}

function onRank(event) {
  if (!ranking() || !event.target.matches(".rank input")) return;
  const card = event.target.closest(".answer");
  const chosen = event.target;
  const typed = chosen.matches(":focus-visible");
  const first = card.parentElement.matches(".tray");
  settle();
  paint();
  if (typed) chosen.focus();
  else if (first && unranked().length) unranked()[0].focus({ preventScroll: true });
  else card.focus({ preventScroll: true });
  ways.say(`Answer ${card.dataset.letter}: rank ${rankOf(card)}. ${unranked().length || "None"} left.`);
}

/** Whether all is there and meant; otherwise say what is missing. */
function ready() {
  const bare = ways.form.dataset.ratingRequired ? cards.findIndex((card) => !ratingOf(card)) : -1;
  if (bare >= 0) {
    showRating(bare);
    ways.refuse(`Answer ${cards[bare].dataset.letter} has no rating yet.`);
    return false;
  }
  if (!ranking()) showRanking();
  const missing = unranked();
  if (missing.length) {
    missing[0].focus();
    ways.refuse(`Not ranked yet: ${missing.map((card) => card.dataset.letter).join(", ")}.`);
    return false;
  }
  const pairs = doubts();
  const seen = JSON.stringify(cards.map((card) => [rankOf(card), ratingOf(card)]));
  if (!pairs.length || seen === doubted) return true;
  doubted = seen;
  const [better, worse] = pairs[0];
  ways.refuse(
    `You ranked ${better.dataset.letter} above ${worse.dataset.letter} but rated it lower (${ratingOf(better)} and ${ratingOf(worse)}). If you mean it, submit again.`,
  );
  return false;
}

/** Turn the plain form into two steps. */
export function start(given) {
  ways = given;
  ways.ready = ready;
  for (const card of cards) {
    card.tabIndex = 0;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = card.dataset.letter;
    button.setAttribute("aria-label", `Rate answer ${card.dataset.letter}`);
    button.addEventListener("click", () => showRating(cards.indexOf(card)));
    bar.append(button);
  }
  const last = document.createElement("button");
  Object.assign(last, { type: "button", textContent: "Rank" });
  last.addEventListener("click", showRanking);
  const where = document.createElement("span");
  where.className = "where";
  where.innerHTML = '<span class="what"></span><span class="hint"></span>';
  bar.append(last, where);
  bar.hidden = false;
  document.addEventListener("keydown", onKey);
  document.addEventListener("click", onClick);
  ways.form.addEventListener("change", (event) => { onRank(event); paint(); });
  allowDragging(ways.say);
  addEventListener("resize", () => ranking() && settle());
  if (cards.every(ratingOf)) showRanking();
  else showRating(cards.findIndex((card) => !ratingOf(card)));
}
