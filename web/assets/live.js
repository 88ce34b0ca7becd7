// News: asks for the page again and puts what has changed in place, part by part, so that nothing jumps under
// the cursor or loses its hover.
import { tellTimes } from "./zone.js";

const isInUse = (part) => {
  const active = document.activeElement;
  if (part.contains(active) && active.matches("input, select, textarea")) return true;
  if (part.querySelector("input:checked, details[open]")) return true;
  const selection = document.getSelection();
  return selection && !selection.isCollapsed && part.contains(selection.anchorNode);
};

const attributes = (old, fresh) => {
  // What scripts have set on a part stays: the place of the keyboard, the view of a graph.
  const ours = new Set(["open", "tabindex", "data-place"]);
  if (old.dataset?.view !== undefined) ["viewBox", "width", "height", "data-view"].forEach((name) => ours.add(name));
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !ours.has(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !ours.has(name)) old.setAttribute(name, value);
  }
};

export const patch = (old, fresh) => {
  if (old.isEqualNode(fresh)) return;
  const same = old.nodeType === Node.ELEMENT_NODE && old.nodeName === fresh.nodeName;
  if (!same) {
    old.replaceWith(fresh);
    return;
  }
  attributes(old, fresh);
  if (old.childNodes.length !== fresh.childNodes.length) {
    old.replaceChildren(...fresh.childNodes);
    return;
  }
  [...old.childNodes].forEach((child, index) => patch(child, fresh.childNodes[index].cloneNode(true)));
};

/// The session has ended, here or in another window: the login leads back to this page.
export const toLogin = () => {
  const here = location.pathname + location.search;
  location.assign(`/login?next=${encodeURIComponent(here)}`);
};

export const fetchPage = async (address) => {
  const reply = await fetch(address, { headers: { "x-towpath-news": "1" } });
  if (reply.status === 401) toLogin();
  if (!reply.ok) return null;
  const page = new DOMParser().parseFromString(await reply.text(), "text/html");
  tellTimes(page);
  return page;
};

const tries = (page) => page.getElementById("tries")?.childElementCount;

export const refresh = async () => {
  const before = tries(document);
  const page = await fetchPage(location.href);
  if (!page) return;
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(part.id);
    if (fresh && !isInUse(part)) patch(part, document.importNode(fresh, true));
  }
  document.body.dataset.refresh = page.body.dataset.refresh ?? "15000";
  // Another try has begun: its log is on the page as it is now, unless somebody chose a try to look at.
  if (tries(page) !== before && !new URLSearchParams(location.search).has("try")) location.reload();
};

export const keepFresh = () => {
  if (!document.body.dataset.refresh) return;
  // A server that is away comes back; until then the page stays as it is.
  const quietly = () => refresh().catch(() => {});
  const again = () => setTimeout(look, Number(document.body.dataset.refresh));
  const look = async () => {
    if (!document.hidden) await quietly();
    again();
  };
  document.addEventListener("visibilitychange", () => !document.hidden && quietly());
  again();
};
