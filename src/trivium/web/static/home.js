// Sends what an earlier visit could not: an answer is never stranded in this browser.

import { empty } from "/static/save.js";

const saved = document.getElementById("saved");
empty(document.getElementById("home").dataset.person, (text, kept = false) => {
  saved.textContent = text;
  saved.classList.toggle("kept", kept);
});
