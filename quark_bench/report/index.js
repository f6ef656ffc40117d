"use strict";
const table = document.querySelector("table.runs"), body = table.tBodies[0], rows = [...body.rows];
const search = document.getElementById("search"), told = document.getElementById("found");
const texts = new Map(rows.map(row => [row, row.textContent.toLowerCase()]));

search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of rows) row.hidden = !words.every(word => texts.get(row).includes(word));
  told.textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length} shown`;
});

table.tHead.addEventListener("click", event => {
  const head = event.target.closest("th");
  if (!event.target.closest("button")) return;
  const falling = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  const key = row => row.cells[head.cellIndex].dataset.key;
  const order = head.dataset.kind === "number" ? (a, b) => a - b : (a, b) => a.localeCompare(b);
  rows.sort((a, b) => {
    const unknown = (key(a) === "") - (key(b) === "");  // stands last, whichever way
    return unknown || (falling ? -1 : 1) * order(key(a), key(b));
  });
  body.append(...rows);
});
document.getElementById("tools").hidden = false;
