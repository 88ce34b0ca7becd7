// The log: adds what is written and stays at the end unless somebody has scrolled away; searches, filters by
// level, brings the lines in the middle, and jumps to the first error.
import { toLogin } from "./live.js";

const levels = ["debug", "info", "warning", "error", "critical"];

const follow = (log) => {
  if (log.dataset.open === undefined) return;
  const box = document.getElementById("follow");
  box.parentElement.hidden = false;
  const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.addEventListener("scroll", () => (box.checked = isAtEnd()));
  box.addEventListener("change", () => box.checked && (log.scrollTop = log.scrollHeight));
  const look = async () => {
    let isOpen = true;
    try {
      const { more, from, line } = log.dataset;
      const reply = await fetch(`${more}&from=${from}&line=${line}`);
      if (reply.status === 401) return toLogin();
      if (reply.ok) {
        const lines = document.createElement("template");
        lines.innerHTML = await reply.text();
        log.append(lines.content);
        log.dataset.from = reply.headers.get("x-log-next");
        log.dataset.line = reply.headers.get("x-log-line");
        isOpen = reply.headers.get("x-log-open") === "true";
        if (log.children.length > 0) document.getElementById("silence")?.remove();
        if (box.checked) log.scrollTop = log.scrollHeight;
      }
    } catch {
      // The next look asks from the same place.
    }
    if (isOpen) setTimeout(look, document.hidden ? 5000 : 700);
    else box.parentElement.hidden = true;
  };
  setTimeout(look, 300);
};

const number = (item) => Number(item.id.slice(1));

/// Brings some of the lines that were left out; those from `after` on.
const fill = async (log, gap, after) => {
  const until = number(gap.nextElementSibling);
  const { from, line } = gap.dataset;
  const reply = await fetch(`${log.dataset.more}&from=${from}&line=${line}&after=${after}&until=${until}`);
  if (!reply.ok) return;
  const lines = document.createElement("template");
  lines.innerHTML = await reply.text();
  const before = log.scrollHeight;
  gap.before(lines.content);
  const last = gap.previousElementSibling;
  gap.dataset.from = reply.headers.get("x-log-next");
  gap.dataset.line = reply.headers.get("x-log-line");
  gap.dataset.after = number(last);
  const left = until - number(last) - 1;
  if (left <= 0) gap.remove();
  else gap.firstElementChild.textContent = `${left.toLocaleString("en").replaceAll(",", "\u202f")} lines are not shown here; show more`;
  return log.scrollHeight - before;
};

const watchGap = (log) => {
  const gap = log.querySelector(".gap[data-from]");
  if (!gap) return;
  gap.firstElementChild.textContent += "; show more";
  gap.addEventListener("click", (event) => {
    event.preventDefault();
    fill(log, gap, Number(gap.dataset.after));
  });
};

/// Makes sure that line `n` is there; `seq` is its chunk and `first` the first line of that.
const bring = async (log, n, seq, first) => {
  if (document.getElementById(`L${n}`)) return;
  const after = Math.max(0, n - 20);
  const reply = await fetch(`${log.dataset.more}&from=${seq}&line=${first}&after=${after}&until=${n + 200}`);
  if (!reply.ok) return;
  const lines = document.createElement("template");
  lines.innerHTML = await reply.text();
  const next = [...log.children].find((item) => item.id && number(item) > n);
  for (const item of [...lines.content.children]) {
    if (document.getElementById(item.id)) continue;
    // What is there already may begin in the middle of what has come.
    if (next && number(item) > number(next)) break;
    log.insertBefore(item, next && log.contains(next) ? placeFor(log, item, next) : null);
  }
};

/// Before `next`, and before the note on what is left out there if the line comes before that as well.
const placeFor = (log, item, next) => {
  const note = next.previousElementSibling;
  const isInGap = note?.classList.contains("gap") && note.dataset.after && number(item) > Number(note.dataset.after);
  return isInGap || !note?.classList.contains("gap") ? next : note;
};

// The server looks through the whole log, however much of it is on the page.
const search = (log) => {
  const [field, hits] = [document.getElementById("log-search"), document.getElementById("log-hits")];
  const [address, values] = log.dataset.more.split("?");
  let found = [];
  let total = 0;
  let at = -1;
  let timer;
  let latest = 0;
  const show = async (step) => {
    if (found.length === 0) return;
    log.querySelector(".at")?.classList.remove("at");
    at = (at + step + found.length) % found.length;
    const mine = latest;
    const [n, seq, first] = found[at];
    await bring(log, n, seq, first);
    if (mine !== latest) return;
    const item = document.getElementById(`L${n}`);
    item?.classList.add("at", "hit");
    item?.scrollIntoView({ block: "center" });
    const more = total > found.length ? ` (the first of ${total})` : "";
    hits.textContent = `${at + 1} of ${found.length}${more}`;
  };
  const look = async () => {
    const mine = ++latest;
    const text = field.value;
    for (const item of log.querySelectorAll(".hit")) item.classList.remove("hit", "at");
    found = [];
    at = -1;
    hits.textContent = text ? "looking" : "";
    if (!text) return;
    const reply = await fetch(`${address}/find?${values}&q=${encodeURIComponent(text)}`).catch(() => null);
    const answer = reply?.ok ? await reply.json() : null;
    if (mine !== latest) return;
    if (!answer) return void (hits.textContent = "the server does not answer");
    [found, total] = [answer.lines, answer.total];
    for (const [n] of found) document.getElementById(`L${n}`)?.classList.add("hit");
    if (total === 0) hits.textContent = "nothing found";
    show(1);
  };
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, 200);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      show(event.shiftKey ? -1 : 1);
    }
  });
};

const jump = (log) => {
  const link = document.getElementById("first-error");
  if (!link) return;
  const to = async (event) => {
    event?.preventDefault();
    const id = link.hash.slice(1);
    if (!document.getElementById(id)) {
      const gap = log.querySelector(".gap[data-from]");
      if (gap) await fill(log, gap, Math.max(Number(gap.dataset.after), Number(id.slice(1)) - 20));
    }
    document.getElementById(id)?.scrollIntoView({ block: "center" });
    location.hash = id;
  };
  link.addEventListener("click", to);
  document.addEventListener("keydown", (event) => {
    if (event.key === "e" && !event.ctrlKey && !event.metaKey && !event.target.matches?.("input, select, textarea")) to();
  });
  link.title = "Key: e";
};

export const watchLog = () => {
  const log = document.getElementById("log");
  if (!log) return;
  document.getElementById("log-tools").hidden = false;
  const toggle = (id, name) => {
    const box = document.getElementById(id);
    box.addEventListener("change", () => log.classList.toggle(name, !box.checked));
  };
  toggle("log-wrap", "nowrap");
  toggle("log-times", "notimes");
  const level = document.getElementById("log-level");
  level.addEventListener("change", () => {
    for (const name of levels) log.classList.remove(`from-${name}`);
    log.classList.add(`from-${level.value}`);
  });
  search(log);
  watchGap(log);
  jump(log);
  if (!location.hash) log.scrollTop = log.scrollHeight;
  follow(log);
};
