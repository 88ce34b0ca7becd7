// Everything can be read without these scripts. They keep pages fresh, follow logs, move through grids and
// graphs, and find things. Each module looks for the part of the page that it knows.
import { watchForms } from "./forms.js";
import { watchGraph } from "./graph.js";
import { watchGrid } from "./grid.js";
import { keepFresh } from "./live.js";
import { watchLog } from "./log.js";
import { watchPalette } from "./palette.js";
import { watchPanel } from "./panel.js";
import { watchSearch } from "./search.js";
import { watchZone } from "./zone.js";

const themes = ["auto", "light", "dark"];

const remembered = () => {
  try {
    return localStorage.getItem("theme") ?? "auto";
  } catch {
    return "auto";
  }
};

const watchTheme = () => {
  const button = document.getElementById("theme");
  if (!button) return;
  const tell = () => (button.textContent = `Theme: ${remembered()}`);
  button.hidden = false;
  tell();
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(remembered()) + 1) % themes.length];
    try {
      localStorage.setItem("theme", next);
    } catch {
      return;
    }
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    tell();
  });
};

const watchCopying = () => {
  if (!navigator.clipboard) return;
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    });
  }
};

watchTheme();
watchZone();
watchForms();
watchCopying();
watchSearch();
watchPalette();
watchGrid();
watchGraph();
watchPanel();
watchLog();
keepFresh();
