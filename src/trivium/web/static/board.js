// The ranking board. The radio buttons of each answer are the truth; cards only follow them.

import Sortable from "/static/vendor/sortable-1.15.7.esm.js";

export const cards = [...document.querySelectorAll(".answer")];
const answers = document.querySelector(".answers");
const board = document.querySelector(".board");
const tray = document.querySelector(".tray");
const zones = [...document.querySelectorAll(".zone")];
let last = null; // the card ranked last, for "="

const radio = (card, kind, value) => card.querySelector(`input[name^="${kind}."][value="${value}"]`);
const checked = (card, kind) => card.querySelector(`input[name^="${kind}."]:checked`);
const number = (card, kind) => Number(checked(card, kind)?.value ?? 0);

/** Rank of a card, 0 while it has none. */
export const rankOf = (card) => number(card, "rank");

/** Rating of a card, 0 while it has none. */
export const ratingOf = (card) => number(card, "rating");

export const unranked = () => cards.filter((card) => !rankOf(card));

/** Cards in the order they are seen. */
export const inOrder = () => [...cards].sort((a, b) => (a.compareDocumentPosition(b) & 4 ? -1 : 1));

export function describe(card) {
  const flags = card.querySelectorAll(".chips input:checked").length;
  const said = [ratingOf(card) && `rated ${ratingOf(card)}`, flags && `${flags} flag${flags > 1 ? "s" : ""}`];
  card.querySelector(".given").textContent = said.filter(Boolean).join(", ");
}

function place(card) {
  const home = rankOf(card) ? zones[rankOf(card) - 1] : tray;
  if (card.parentElement !== home) {
    const after = [...home.children].find((other) => cards.indexOf(other) > cards.indexOf(card));
    home.insertBefore(card, after ?? null);
  }
}

/** Put every card where its radio button says; mark rows and texts. */
export function settle() {
  cards.forEach(place);
  for (const zone of zones) zone.closest("li").classList.toggle("filled", zone.children.length > 0);
  const left = unranked().length;
  board.classList.toggle("all-ranked", !left);
  document.getElementById("tray-name").textContent = left ? `Not ranked yet: ${left}` : "All ranked";
  for (const card of cards) {
    const body = card.querySelector(".body");
    card.classList.toggle("fits", body.scrollHeight <= body.clientHeight + 2);
  }
}

/** Cards back into one pile, for rating one at a time. */
export function gather() {
  answers.append(...cards);
}

/** What a listener hears after a move. */
function sentence(card) {
  const rank = rankOf(card);
  const name = `Answer ${card.dataset.letter}`;
  const left = unranked().length;
  const rest = left ? `${left} left.` : "All ranked.";
  if (!rank) return `${name}: no rank. ${rest}`;
  const tied = cards.filter((other) => other !== card && rankOf(other) === rank);
  const ties = tied.length ? `, tied with ${tied.map((other) => other.dataset.letter).join(", ")}` : "";
  return `${name}: rank ${rank} of ${cards.length}${ties}. ${rest}`;
}

/** Give a card a rank (0 takes it away), tell it, and leave the focus on a card. */
export function setRank(card, rank, { say, focus = true }) {
  const before = rankOf(card);
  const wanted = Math.min(rank, cards.length);
  if (wanted) radio(card, "rank", wanted).checked = true;
  else if (before) checked(card, "rank").checked = false;
  if (wanted) last = card;
  settle();
  card.dispatchEvent(new Event("change", { bubbles: true }));
  say(sentence(card));
  if (!focus) return;
  const next = !before && wanted ? unranked().find((other) => cards.indexOf(other) > cards.indexOf(card)) ?? unranked()[0] : null;
  (next ?? card).focus({ preventScroll: false });
}

/** One rank better (-1) or worse (+1); with `swap`, the neighbours go the other way. */
export function step(card, by, { say, swap }) {
  const from = rankOf(card);
  if (!from && by > 0) return setRank(card, 1, { say });
  const to = from + by;
  if (!from || to < 1 || to > cards.length) return say(`${sentence(card)} No further.`);
  if (swap) cards.filter((other) => rankOf(other) === to).forEach((other) => { radio(other, "rank", from).checked = true; });
  return setRank(card, to, { say });
}

/** Tie with the next better row; a card without a rank joins the one ranked last. */
export function tie(card, say) {
  const own = rankOf(card);
  const better = cards.map(rankOf).filter((rank) => rank && rank < own);
  const target = own ? Math.max(0, ...better) : last && rankOf(last);
  if (!target) return say("Nothing above to tie with.");
  return setRank(card, target, { say });
}

/** Pairs in which the better ranked answer was rated two points lower or more. */
export function doubts() {
  const pairs = [];
  for (const a of cards) {
    for (const b of cards) {
      if (rankOf(a) < rankOf(b) && ratingOf(b) - ratingOf(a) >= 2) pairs.push([a, b]);
    }
  }
  return pairs;
}

/** End the slides of cards that made room: Sortable does not take up a card that still moves. */
function rest() {
  for (const card of cards) {
    clearTimeout(card.animated);
    card.animated = false;
    card.style.transition = card.style.transform = "";
  }
}

/** The tray or row under the pointer as it was let go; its name and edges are part of it. */
function under(event) {
  const { clientX, clientY } = event.changedTouches?.[0] ?? event;
  const whole = document.elementFromPoint(clientX, clientY)?.closest(".tray-side, .rows > li");
  return whole?.querySelector(".tray, .zone");
}

/** Let mouse and finger drag cards between the tray and the rows.
 *
 * Sortable looks where the pointer is only twenty times a second, and begins a drag a moment after
 * the first move. A quick hand has let go by then: so what counts is where it let go.
 */
export function allowDragging(say) {
  for (const zone of [tray, ...zones]) {
    Sortable.create(zone, {
      group: "ranking", draggable: ".answer", handle: ".head", filter: ".tool", preventOnFilter: false,
      animation: 120, forceFallback: true, fallbackOnBody: true, fallbackTolerance: 4,
      ghostClass: "ghost", fallbackClass: "lifted", emptyInsertThreshold: 24,
      onChoose: ({ from }) => { from.style.minHeight = `${from.offsetHeight}px`; }, // targets stay put
      onUnchoose: ({ item, from, to, originalEvent }) => {
        rest();
        const rank = Number((under(originalEvent) ?? to).dataset.rank); // before anything moves
        from.style.minHeight = "";
        if (rank !== rankOf(item)) setRank(item, rank, { say, focus: false });
        else settle();
        item.focus({ preventScroll: true });
        // Sortable swallows the click that ends a drag. A moved card gets none, and the next one, on
        // "Submit" maybe, would be swallowed in its place: so it gets this one.
        setTimeout(() => document.body.click());
      },
    });
  }
}

/** Rate a card. */
export function setRating(card, value, say) {
  const field = radio(card, "rating", value);
  if (!field) return false;
  field.checked = true;
  field.dispatchEvent(new Event("change", { bubbles: true }));
  say(`Answer ${card.dataset.letter}: rated ${value}.`);
  return true;
}
