// Everything can be read without this script. It keeps pages fresh, follows logs, and remembers the theme.
"use strict";

(() => {
  const root = document.documentElement;

  // --- theme: set before the first paint; "auto" follows the system.
  const themes = ["auto", "light", "dark"];
  const stored = () => {
    try {
      return localStorage.getItem("theme") ?? "auto";
    } catch {
      return "auto";
    }
  };
  const wear = (theme) => {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
  };
  wear(stored());

  const theme = () => {
    const button = document.getElementById("theme");
    if (!button) return;
    const tell = () => (button.textContent = `Theme: ${stored()}`);
    button.hidden = false;
    tell();
    button.addEventListener("click", () => {
      const next = themes[(themes.indexOf(stored()) + 1) % themes.length];
      try {
        localStorage.setItem("theme", next);
      } catch {
        return;
      }
      wear(next);
      tell();
    });
  };

  // --- news: asks for the page again and puts what has changed in place, part by part.
  const isInUse = (part) => {
    if (part.contains(document.activeElement)) return true;
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && part.contains(selection.anchorNode);
  };

  // Takes over only the rows, cells and texts that differ, so that nothing jumps or loses its hover.
  const patch = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    const same = old.nodeType === Node.ELEMENT_NODE && old.nodeName === fresh.nodeName;
    if (!same || old.childNodes.length !== fresh.childNodes.length) {
      if (same) {
        attributes(old, fresh);
        old.replaceChildren(...fresh.childNodes);
      } else old.replaceWith(fresh);
      return;
    }
    attributes(old, fresh);
    [...old.childNodes].forEach((child, index) => patch(child, fresh.childNodes[index].cloneNode(true)));
  };
  const attributes = (old, fresh) => {
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value && name !== "open") old.setAttribute(name, value);
    }
  };

  const tries = (page) => page.getElementById("tries")?.childElementCount;

  const refresh = async () => {
    const reply = await fetch(location.href, { headers: { "x-towpath-news": "1" } });
    if (!reply.ok) return;
    const before = tries(document);
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(part.id);
      if (fresh && !isInUse(part)) patch(part, document.importNode(fresh, true));
    }
    document.body.dataset.refresh = page.body.dataset.refresh ?? "15000";
    // Another try has begun: its log is on the page as it is now, unless somebody chose a try to look at.
    if (tries(page) !== before && !new URLSearchParams(location.search).has("try")) location.reload();
  };

  const keepFresh = () => {
    if (!document.body.dataset.refresh) return;
    const again = () => setTimeout(look, Number(document.body.dataset.refresh));
    const look = async () => {
      // A server that is away comes back; until then the page stays as it is.
      if (!document.hidden) await refresh().catch(() => {});
      again();
    };
    document.addEventListener("visibilitychange", () => !document.hidden && refresh().catch(() => {}));
    again();
  };

  // --- log: adds what is written, and stays at the end unless somebody has scrolled away.
  const followLog = () => {
    const log = document.getElementById("log");
    if (!log) return;
    if (!location.hash) log.scrollTop = log.scrollHeight;
    if (log.dataset.open === undefined) return;
    const follow = document.getElementById("follow");
    follow.parentElement.hidden = false;
    const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.addEventListener("scroll", () => (follow.checked = isAtEnd()));
    follow.addEventListener("change", () => follow.checked && (log.scrollTop = log.scrollHeight));
    const look = async () => {
      let isOpen = true;
      try {
        const { more, from, line } = log.dataset;
        const reply = await fetch(`${more}&from=${from}&line=${line}`);
        if (reply.ok) {
          const lines = document.createElement("template");
          lines.innerHTML = await reply.text();
          log.append(lines.content);
          log.dataset.from = reply.headers.get("x-log-next");
          log.dataset.line = reply.headers.get("x-log-line");
          isOpen = reply.headers.get("x-log-open") === "true";
          if (log.children.length > 0) document.getElementById("silence")?.remove();
          if (follow.checked) log.scrollTop = log.scrollHeight;
        }
      } catch {
        // The next look asks from the same place.
      }
      if (isOpen) setTimeout(look, document.hidden ? 5000 : 700);
      else follow.parentElement.hidden = true;
    };
    setTimeout(look, 300);
  };

  const copyButtons = () => {
    if (!navigator.clipboard) return;
    for (const button of document.querySelectorAll("[data-copy]")) {
      button.hidden = false;
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
        button.textContent = "Copied";
      });
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    theme();
    keepFresh();
    followLog();
    copyButtons();
  });
})();
