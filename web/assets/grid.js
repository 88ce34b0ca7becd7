// The grid: a click or Enter shows a task instance beside it, `o` opens its page, arrows move, `c` clears, `l` goes to
// the log, `/` filters.
import { isPanelOpen, openPanel } from "./panel.js";

export const watchGrid = () => {
  const grid = document.getElementById("grid");
  if (!grid) return;
  const rows = () => [...grid.querySelectorAll("tbody tr")];
  const address = (cell) => {
    const task = cell.closest("tr")?.dataset.task;
    const run = grid.querySelectorAll("thead .runs th")[cell.cellIndex]?.dataset.run;
    return task && run && cell.className ? { task, run } : null;
  };
  const open = (cell, hash = "") => {
    const at = address(cell);
    if (at) location.assign(`${at.run}/tasks/${at.task}${hash}`);
  };
  let lit = [];
  const light = (cell) => {
    for (const other of lit) other.classList.remove("lit");
    lit = cell?.cellIndex > 0 ? rows().map((row) => row.cells[cell.cellIndex]).filter(Boolean) : [];
    for (const other of lit) other.classList.add("lit");
  };
  const go = (cell) => {
    if (!cell) return;
    grid.querySelector("td[tabindex]")?.removeAttribute("tabindex");
    cell.tabIndex = 0;
    cell.focus();
    cell.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  const first = () => rows()[0]?.cells[rows()[0].cells.length - 1];
  const enter = () => {
    if (!grid.querySelector("td[tabindex]") && first()) first().tabIndex = 0;
  };
  enter();
  grid.addEventListener("click", (event) => {
    const cell = event.target.closest("tbody td");
    if (!cell) return;
    const at = address(cell);
    if (!at) return;
    if (event.ctrlKey || event.metaKey) window.open(`${at.run}/tasks/${at.task}`);
    else {
      go(cell);
      openPanel(`${at.run}/tasks/${at.task}`);
    }
  });
  grid.addEventListener("mouseover", (event) => light(event.target.closest("tbody td, tbody th")));
  grid.addEventListener("mouseleave", () => light(null));
  grid.addEventListener("focusin", (event) => light(event.target.closest("tbody td")));
  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches?.("input, select, textarea")) return;
    const cell = document.activeElement?.closest?.("#grid tbody td");
    if (event.key === "/") {
      event.preventDefault();
      document.getElementById("task-filter")?.focus();
    } else if (moves[event.key] && (cell || document.activeElement === document.body)) {
      event.preventDefault();
      if (!cell) return go(first());
      const [down, right] = moves[event.key];
      const row = rows()[rows().indexOf(cell.parentElement) + down];
      const place = Math.max(1, cell.cellIndex + right);
      const next = row?.cells[place];
      go(next);
      // The panel follows, and the focus stays in the grid.
      const at = next && isPanelOpen() && address(next);
      if (at) openPanel(`${at.run}/tasks/${at.task}`, false);
    } else if (cell && event.key === "Enter") {
      const fold = cell.parentElement.querySelector(".fold");
      const at = address(cell);
      if (fold) fold.click();
      else if (at) openPanel(`${at.run}/tasks/${at.task}`);
    } else if (cell && event.key === "o") open(cell);
    else if (cell && event.key === "l") open(cell, "#log");
    else if (cell && event.key === "c") {
      const at = address(cell);
      if (at) location.assign(`${at.run}/clear?task=${at.task}&downstream=1`);
    }
  });
};
