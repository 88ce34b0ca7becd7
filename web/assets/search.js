// Search as you type: the form's answer is put in place, and the address says what was searched for.
import { fetchPage, patch } from "./live.js";

const WAIT_MS = 150;

const put = (page, ids) => {
  for (const id of ids) {
    const [old, fresh] = [document.getElementById(id), page.getElementById(id)];
    if (old && fresh) patch(old, document.importNode(fresh, true));
  }
};

export const watchSearch = () => {
  for (const form of document.querySelectorAll("form[data-search]")) {
    form.querySelector("button")?.classList.add("hidden");
    let timer;
    let latest = 0;
    const look = async () => {
      const values = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
      const address = values.size ? `${form.action}?${values}` : form.action;
      const mine = ++latest;
      const page = await fetchPage(address).catch(() => null);
      if (!page || mine !== latest) return;
      history.replaceState(null, "", address);
      put(page, form.dataset.search.split(" "));
    };
    form.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(look, WAIT_MS);
    });
  }
  // Links that change one part of the page.
  document.addEventListener("click", async (event) => {
    const link = event.target.closest?.("a[data-patch]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const address = link.href;
    const page = await fetchPage(address).catch(() => null);
    if (!page) return location.assign(address);
    history.pushState(null, "", address);
    put(page, [link.dataset.patch]);
  });
  window.addEventListener("popstate", () => location.reload());
};
