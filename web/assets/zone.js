// Times in the zone that the viewer chose. The server writes UTC; the choice is UTC, the viewer's own, or the DAG's.
const own = Intl.DateTimeFormat().resolvedOptions().timeZone;

const zones = () => [...new Set(["UTC", own, document.documentElement.dataset.zone].filter(Boolean))];

const chosen = () => {
  let zone = "UTC";
  try {
    zone = localStorage.getItem("zone") ?? "UTC";
  } catch {
    // Without a memory it is UTC.
  }
  return zones().includes(zone) ? zone : "UTC";
};

const forms = new Map();
const written = (date, zone) => {
  if (!forms.has(zone)) {
    const two = "2-digit";
    const form = { timeZone: zone, year: "numeric", month: two, day: two, hour: two, minute: two, second: two, hourCycle: "h23" };
    forms.set(zone, new Intl.DateTimeFormat("en", form));
  }
  const parts = Object.fromEntries(forms.get(zone).formatToParts(date).map(({ type, value }) => [type, value]));
  const seconds = parts.second === "00" ? "" : `:${parts.second}`;
  return `${parts.year}-${parts.month}-${parts.day} ${parts.hour}:${parts.minute}${seconds} ${zone}`;
};

export const tellTimes = (root) => {
  const zone = chosen();
  if (zone === "UTC") return;
  for (const time of root.querySelectorAll("time[datetime]")) {
    const date = new Date(time.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    const utc = time.dataset.utc ?? time.title;
    const text = written(date, zone);
    // A time that is told as it is, not relative to now.
    if (time.textContent === time.title) time.textContent = text;
    time.dataset.utc = utc;
    time.title = `${text}\n${utc}`;
  }
};

export const watchZone = () => {
  tellTimes(document);
  const button = document.getElementById("zone");
  if (!button || zones().length < 2) return;
  button.hidden = false;
  button.textContent = chosen();
  button.title = "The zone in which times are told";
  button.addEventListener("click", () => {
    const all = zones();
    try {
      localStorage.setItem("zone", all[(all.indexOf(chosen()) + 1) % all.length]);
    } catch {
      return;
    }
    location.reload();
  });
};
