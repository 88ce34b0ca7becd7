// Forms that answer as soon as something is chosen, boxes that tick all others, and menus that close.
export const watchForms = () => {
  for (const form of document.querySelectorAll("form[data-auto]")) {
    form.querySelector("button")?.classList.add("hidden");
    form.addEventListener("change", () => form.requestSubmit());
  }
  for (const all of document.querySelectorAll("[data-all]")) {
    all.hidden = false;
    all.addEventListener("change", () => {
      for (const box of document.getElementsByName(all.dataset.all)) box.checked = all.checked;
    });
  }
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
  });
};
