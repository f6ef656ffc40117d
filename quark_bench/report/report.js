"use strict";
// Sorts, searches and opens the table of prompts. Every text goes in as text, never as markup.
(() => {
  const section = document.getElementById("prompts");
  if (!section) return;
  const data = JSON.parse(document.getElementById("waterfalls").textContent);
  const table = section.querySelector("table");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const search = section.querySelector("input");
  const count = section.querySelector("output");
  const nothing = section.querySelector(".nothing");

  const make = (tag, name, text) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const words = (row) => {
    const found = data.prompts[row.dataset.waterfall];
    const more = found ? [found.id, found.text, ...found.reference, ...found.lanes.flatMap((l) => [l.answer, l.error])] : [];
    return [row.textContent, ...more].join("\n").toLowerCase();
  };
  const texts = new Map(rows.map((row) => [row, words(row)]));

  const detailOf = (row) => (row.nextElementSibling?.classList.contains("opened") ? row.nextElementSibling : null);

  const bar = ([agent, attempt, status, ready, start, end, took, critical], arm) => {
    const name = typeof agent === "number" ? data.names.agents[agent] : agent;
    const item = make("li");
    item.append(make("span", "name", attempt > 1 ? `${name} (try ${attempt})` : name));
    const track = make("span", "track");
    const waited = make("span", "waited");
    waited.style.left = `${ready}%`;
    waited.style.width = `${Math.max(0, start - ready)}%`;
    const ran = make("span", critical ? "ran critical" : "ran");
    ran.style.left = `${start}%`;
    ran.style.width = `${attempt ? Math.max(0.4, end - start) : 0}%`;
    track.append(waited, ran);
    track.style.setProperty("--arm", `var(--arm-${arm % 6})`);
    item.append(track, make("span", "took", status === "ok" ? took : `${took} ${status}`));
    if (critical) item.append(make("span", "unseen", "on the critical path"));
    return item;
  };

  const lane = (each) => {
    const found = make("div", "lane");
    const heading = make("h3");
    const mark = make("span", "mark");
    mark.style.setProperty("--arm", `var(--arm-${each.arm % 6})`);
    heading.append(mark, `${data.names.arms[each.arm]}: ${each.took}, ${each.status}`);
    found.append(heading, make("p", "answer", each.answer || "no answer"));
    if (each.error) found.append(make("p", "answer error", each.error));
    const bars = make("ol", "bars");
    bars.append(...each.bars.map((one) => bar(one, each.arm)));
    if (each.more) bars.append(make("li", "", `and ${each.more} more attempts`));
    found.append(bars);
    return found;
  };

  const open = (row, button) => {
    const found = data.prompts[row.dataset.waterfall];
    const detail = make("tr", "opened");
    const cell = make("td");
    cell.colSpan = row.cells.length;
    cell.append(make("p", "asked", found.text || found.id));
    if (found.reference.length) cell.append(make("p", "reference", `reference: ${found.reference.join(" | ")}`));
    if (found.repeat) cell.append(make("p", "reference", `repeat ${found.repeat}`));
    cell.append(...found.lanes.map(lane));
    detail.append(cell);
    row.after(detail);
    button.setAttribute("aria-expanded", "true");
    row.scrollIntoView({ block: "nearest" });
  };

  body.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const row = button.closest("tr");
    const detail = detailOf(row);
    if (!detail) return open(row, button);
    detail.remove();
    button.setAttribute("aria-expanded", "false");
  });

  const find = () => {
    const wanted = search.value.trim().toLowerCase();
    let left = 0;
    for (const row of rows) {
      row.hidden = !texts.get(row).includes(wanted);
      const detail = detailOf(row);
      if (detail) detail.hidden = row.hidden;
      left += row.hidden ? 0 : 1;
    }
    count.textContent = `${left} of ${rows.length} shown`;
    nothing.hidden = left > 0;
  };
  search.addEventListener("input", find);

  const keyOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.key === undefined ? cell.textContent.trim() : Number(cell.dataset.key);
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === typeof b) return a.localeCompare(b, "en", { numeric: true });
    return typeof a === "number" ? -1 : 1;
  };
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const moved = rows.map((row) => [row, detailOf(row)]);
      moved.sort(([a], [b]) => compare(keyOf(a, column), keyOf(b, column)) * (down ? -1 : 1));
      body.append(...moved.flat().filter(Boolean));
    });
  });

  for (const button of section.querySelectorAll("button[disabled]")) button.disabled = false;
  section.querySelector(".search").hidden = false;
  find();
})();
