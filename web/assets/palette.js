// The palette: Ctrl-K or Cmd-K, a few letters, Enter. Finds DAGs, tasks and runs, and knows a few actions.
const places = [
  ["Home", "/"],
  ["DAGs", "/dags"],
  ["Runs", "/runs"],
  ["Failed runs", "/runs?state=failed"],
  ["Assets", "/assets"],
  ["Connections", "/admin/connections"],
  ["Variables", "/admin/variables"],
  ["Pools", "/admin/pools"],
  ["Workers", "/admin/workers"],
  ["Users and tokens", "/admin/users"],
  ["Audit", "/admin/audit"],
  ["Configuration", "/admin/config"],
];

const element = (name, className, text) => {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
};

/// Presses the button of the DAG's own page, so that the palette needs no right of its own.
const press = async (href, kind) => {
  const reply = await fetch(href);
  const page = new DOMParser().parseFromString(await reply.text(), "text/html");
  const form = page.querySelector(`form[action$="/${kind}"]`);
  if (!form) return location.assign(href);
  const ours = document.importNode(form, true);
  ours.hidden = true;
  document.body.append(ours);
  ours.submit();
};

const entries = (found, text) => {
  const list = [];
  for (const { kind, label, about, href, dag, state } of found) {
    list.push({ kind, label, about: state ? `${state}, ${about}` : about, run: () => location.assign(href) });
    if (!dag || !text) continue;
    const [address, isPaused] = dag;
    list.push({ kind: "trigger", label: `Trigger ${label}`, about: "", run: () => location.assign(`${address}/trigger`) });
    const verb = isPaused ? "unpause" : "pause";
    const word = isPaused ? "Unpause" : "Pause";
    list.push({ kind: verb, label: `${word} ${label}`, about: "", run: () => press(address, verb) });
  }
  const fits = places.filter(([label]) => label.toLowerCase().includes(text.toLowerCase()));
  list.push(...fits.map(([label, href]) => ({ kind: "page", label, about: "", run: () => location.assign(href) })));
  return list;
};

const build = () => {
  const dialog = element("dialog", "palette", "");
  dialog.setAttribute("aria-label", "Go to");
  const field = element("input", "", "");
  field.type = "search";
  field.placeholder = "DAG, task of this DAG, run, or “dag task”";
  for (const [name, value] of Object.entries({ role: "combobox", "aria-expanded": "true", "aria-controls": "found", autocomplete: "off", "aria-label": "Go to" })) field.setAttribute(name, value);
  const list = element("ul", "", "");
  list.id = "found";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Found");
  dialog.append(field, list);
  document.body.append(dialog);
  return { dialog, field, list };
};

export const watchPalette = () => {
  // The pages of the login know nothing to go to.
  if (document.body.dataset.dag === undefined) return;
  const { dialog, field, list } = build();
  let shown = [];
  let at = 0;
  let latest = 0;
  const mark = () => {
    [...list.children].forEach((item, index) => item.setAttribute("aria-selected", index === at));
    list.children[at]?.scrollIntoView({ block: "nearest" });
    field.setAttribute("aria-activedescendant", list.children[at]?.id ?? "");
  };
  const look = async () => {
    const mine = ++latest;
    const values = new URLSearchParams({ q: field.value, dag: document.body.dataset.dag ?? "" });
    const reply = await fetch(`/search?${values}`).catch(() => null);
    if (mine !== latest) return;
    shown = entries(reply?.ok ? await reply.json() : [], field.value);
    list.replaceChildren(
      ...shown.map(({ kind, label, about, run }, index) => {
        const item = element("li", "", "");
        item.id = `found-${index}`;
        item.setAttribute("role", "option");
        item.append(element("span", "kind", kind), element("span", "id", label), element("span", "muted", about));
        item.addEventListener("click", run);
        return item;
      }),
    );
    if (shown.length === 0) list.append(element("li", "muted", "Nothing found"));
    at = 0;
    mark();
  };
  const open = () => {
    if (dialog.open) return;
    dialog.showModal();
    field.select();
    look();
  };
  field.addEventListener("input", look);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      at = (at + step + shown.length) % Math.max(shown.length, 1);
      mark();
    } else if (event.key === "Enter") {
      event.preventDefault();
      shown[at]?.run();
    }
  });
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      open();
    }
  });
  document.getElementById("find")?.addEventListener("focus", (event) => {
    event.target.blur();
    open();
  });
};
