// The panel beside a grid or a graph: a task instance with its reason, the end of its log and its actions. What is
// done there is done without leaving the page; Escape closes it, and the address says what it shows.
import { fetchPage, refresh } from "./live.js";

const BUSY_MS = 1500;
const MARK = "#task=";

let panel;
let body;
let timer;
// What is shown, and what had the focus before.
let shown = null;
let before = null;

const build = () => {
  panel = document.createElement("aside");
  panel.className = "panel";
  panel.setAttribute("aria-label", "Task instance");
  const close = document.createElement("button");
  close.type = "button";
  close.className = "quiet";
  close.textContent = "Close";
  close.title = "Key: Escape";
  close.addEventListener("click", () => closePanel());
  body = document.createElement("div");
  panel.append(close, body);
  document.querySelector(".body").append(panel);
  panel.addEventListener("click", follow);
  panel.addEventListener("submit", send);
  panel.addEventListener("change", (event) => {
    if (event.target.closest("form.options")) event.target.form.requestSubmit();
  });
};

const failed = (text) => {
  const line = document.createElement("p");
  line.className = "box bad";
  line.setAttribute("role", "alert");
  line.textContent = text;
  body.prepend(line);
};

const put = (node, focuses) => {
  const log = body.querySelector(".log");
  const wasAtEnd = !log || log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const place = log?.scrollTop;
  body.replaceChildren(node);
  const fresh = body.querySelector(".log");
  if (fresh) fresh.scrollTop = wasAtEnd ? fresh.scrollHeight : place;
  if (focuses) body.querySelector("h1, h2")?.focus({ preventScroll: true });
};

const partOf = (href) => {
  const address = new URL(href, location.href);
  return `${address.pathname}/panel${address.search}`;
};

const load = async (focuses) => {
  clearTimeout(timer);
  const mine = shown;
  const page = await fetchPage(partOf(mine)).catch(() => null);
  if (mine !== shown) return;
  const fresh = page?.getElementById("instance");
  if (!fresh) return body.childElementCount ? undefined : failed("It cannot be shown; load the page again.");
  // Nothing moves under a form, or under text that somebody has selected.
  const selection = document.getSelection();
  const isInUse = !focuses && !selection.isCollapsed && body.contains(selection.anchorNode);
  if (!isInUse) put(document.importNode(fresh, true), focuses);
  if (fresh.dataset.busy !== undefined) timer = setTimeout(() => load(false), document.hidden ? 5 * BUSY_MS : BUSY_MS);
};

/// Shows the task instance that `href` is the page of.
export const openPanel = (href, focuses = true) => {
  if (!panel) build();
  if (panel.hidden || !shown) before = document.activeElement;
  shown = href;
  panel.hidden = false;
  document.body.classList.add("has-panel");
  history.replaceState(history.state, "", `${location.pathname}${location.search}${MARK}${encodeURIComponent(href)}`);
  load(focuses);
};

export const isPanelOpen = () => Boolean(shown);

export const closePanel = () => {
  if (!shown) return;
  clearTimeout(timer);
  shown = null;
  panel.hidden = true;
  document.body.classList.remove("has-panel");
  history.replaceState(history.state, "", location.pathname + location.search);
  if (before?.isConnected) before.focus({ preventScroll: true });
};

/// A form of the site, to be filled in and sent from here.
const showForm = async (address) => {
  clearTimeout(timer);
  const page = await fetchPage(address).catch(() => null);
  const sheet = page?.querySelector("main .sheet");
  if (!sheet) return location.assign(address);
  const ours = document.importNode(sheet, true);
  // The title of the sheet takes the focus.
  const title = ours.querySelector("h1");
  if (title) title.tabIndex = -1;
  ours.querySelector("form.options button")?.classList.add("hidden");
  ours.querySelector("[autofocus]")?.removeAttribute("autofocus");
  for (const link of ours.querySelectorAll(".buttons a")) link.dataset.back = "";
  // What its own form asks again is asked of the same page.
  ours.dataset.address = address.split("?")[0];
  put(ours, true);
};

const follow = (event) => {
  const link = event.target.closest?.("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (link.dataset.inside !== undefined) {
    event.preventDefault();
    showForm(link.getAttribute("href"));
  } else if (link.dataset.back !== undefined) {
    event.preventDefault();
    load(true);
  } else if (link.dataset.instance !== undefined) {
    event.preventDefault();
    openPanel(link.getAttribute("href"));
  }
};

const send = async (event) => {
  event.preventDefault();
  const form = event.target;
  const values = new URLSearchParams([...new FormData(form)]);
  if (form.method !== "post") return showForm(`${body.querySelector(".sheet").dataset.address}?${values}`);
  for (const button of form.querySelectorAll("button")) button.disabled = true;
  const reply = await fetch(form.action, { method: "POST", body: values }).catch(() => null);
  if (!reply?.ok) {
    for (const button of form.querySelectorAll("button")) button.disabled = false;
    return failed(reply ? `It was refused (${reply.status}).` : "The server does not answer; try again.");
  }
  await load(true);
  refresh().catch(() => {});
};

export const watchPanel = () => {
  if (!document.getElementById("grid") && !document.querySelector("#canvas .node")) return;
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && shown && !document.querySelector("dialog[open]")) closePanel();
  });
  const canvas = document.getElementById("canvas");
  canvas?.addEventListener("click", (event) => {
    const link = event.target.closest("a.node");
    const href = link?.getAttribute("href") ?? "";
    if (event.defaultPrevented || !href.includes("/tasks/") || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    openPanel(href);
  });
  if (location.hash.startsWith(MARK)) {
    const href = decodeURIComponent(location.hash.slice(MARK.length));
    // An address may have come from anywhere: only task instances of this site.
    if (/^\/dags\/[^/]+\/runs\/[^/]+\/tasks\/[^/]+$/.test(href.split("?")[0])) openPanel(href, false);
  }
};
