// Moves and zooms the graph by its viewBox, and keeps the small map in step.
export const watchGraph = () => {
  const canvas = document.getElementById("canvas");
  const svg = document.getElementById("graph");
  if (!canvas || !svg) return;
  const whole = { width: Number(svg.dataset.width), height: Number(svg.dataset.height) };
  const view = { x: 0, y: 0, scale: 1 };
  canvas.classList.add("free");
  svg.dataset.view = "1";
  svg.removeAttribute("width");
  svg.removeAttribute("height");
  const size = () => ({ width: canvas.clientWidth, height: canvas.clientHeight });
  const show = () => {
    const { width, height } = size();
    svg.setAttribute("viewBox", `${view.x} ${view.y} ${width / view.scale} ${height / view.scale}`);
    const frame = document.getElementById("viewport");
    if (!frame) return;
    const values = { x: view.x, y: view.y, width: width / view.scale, height: height / view.scale };
    for (const [name, value] of Object.entries(values)) frame.setAttribute(name, value);
  };
  const fit = () => {
    const { width, height } = size();
    // Small graphs are not blown up, and text stays legible in large ones.
    view.scale = Math.max(0.35, Math.min(1.1, width / whole.width, height / whole.height));
    view.x = Math.min(0, (whole.width - width / view.scale) / 2);
    view.y = (whole.height - height / view.scale) / 2;
    show();
  };
  const zoom = (factor, x = size().width / 2, y = size().height / 2) => {
    const scale = Math.max(0.05, Math.min(4, view.scale * factor));
    view.x += x / view.scale - x / scale;
    view.y += y / view.scale - y / scale;
    view.scale = scale;
    show();
  };
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const box = canvas.getBoundingClientRect();
      zoom(Math.exp(-event.deltaY / 500), event.clientX - box.x, event.clientY - box.y);
    },
    { passive: false },
  );
  let from = null;
  let moved = 0;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button === 0) [from, moved] = [{ x: event.clientX, y: event.clientY }, 0];
  });
  window.addEventListener("pointermove", (event) => {
    if (!from) return;
    view.x -= (event.clientX - from.x) / view.scale;
    view.y -= (event.clientY - from.y) / view.scale;
    moved += Math.abs(event.clientX - from.x) + Math.abs(event.clientY - from.y);
    from = { x: event.clientX, y: event.clientY };
    show();
  });
  window.addEventListener("pointerup", () => (from = null));
  // The end of a drag is no click.
  canvas.addEventListener("click", (event) => moved > 4 && event.preventDefault(), true);
  canvas.addEventListener("dragstart", (event) => event.preventDefault());
  const keys = { ArrowLeft: [-60, 0], ArrowRight: [60, 0], ArrowUp: [0, -60], ArrowDown: [0, 60] };
  canvas.addEventListener("keydown", (event) => {
    if (keys[event.key]) {
      event.preventDefault();
      view.x += keys[event.key][0] / view.scale;
      view.y += keys[event.key][1] / view.scale;
      show();
    } else if (event.key === "+") zoom(1.25);
    else if (event.key === "-") zoom(0.8);
    else if (event.key === "0") fit();
  });
  const tools = document.getElementById("zoom");
  tools.hidden = false;
  tools.addEventListener("click", (event) => {
    const kind = event.target.dataset.zoom;
    if (kind === "fit") fit();
    else if (kind) zoom(kind === "in" ? 1.25 : 0.8);
  });
  window.addEventListener("resize", show);
  fit();
};
