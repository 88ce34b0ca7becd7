// A browser on the real binary: a run is triggered and goes green, a failing task is found, its error is read, it is
// cleared and succeeds. TOWPATH names the binary, CHROMIUM the browser.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const LIMIT_MS = 60_000;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const folder = mkdtempSync(join(tmpdir(), "towpath-e2e-"));
let server;
let base;
let browser;

const DAG = `
schedule: null
params:
  who: { type: string, default: world, description: Who is greeted }
  times: { type: integer, default: 1, minimum: 1 }
tasks:
  start: { operator: empty }
  work.fragile:
    operator: bash
    bash_command: |
      echo "<img src=x onerror=document.title='owned'> for {{ params.who }}"
      if [ ! -e "${folder}/mended" ]; then echo "the mill is broken" >&2; exit 3; fi
    dependencies: [start]
  work.sturdy: { operator: bash, bash_command: "echo fine", dependencies: [start] }
  done: { operator: bash, bash_command: "echo done for {{ params.who }}", dependencies: [work.fragile, work.sturdy], outlets: [flour] }
`;

const SACKS = `
schedule: null
tasks:
  weighed:
    operator: transform
    input: { rows: [{ sack: "<b>1</b>", kg: "25" }, { sack: "2", kg: "heavy" }, { sack: "3", kg: "24.5" }] }
    steps: [{ validate: { columns: { kg: { type: float64, required: true } }, on_error: reject } }]
`;

before(async () => {
  mkdirSync(join(folder, "dags"));
  writeFileSync(join(folder, "dags", "mill.yaml"), DAG);
  writeFileSync(join(folder, "dags", "baker.yaml"), "schedule: { assets: [flour, water] }\ntasks:\n  bake: { operator: bash, bash_command: echo bread }\n");
  writeFileSync(join(folder, "dags", "sacks.yaml"), SACKS);
  server = spawn(process.env.TOWPATH ?? "towpath", ["up", "--listen", "127.0.0.1:0", "--no-auth"], { cwd: folder });
  let said = "";
  base = await new Promise((resolve, reject) => {
    const listen = (chunk) => {
      said += chunk;
      const url = said.match(/Towpath is up: (\S+)/);
      if (url) resolve(url[1]);
    };
    server.stdout.on("data", listen);
    server.stderr.on("data", listen);
    server.on("exit", () => reject(new Error(`the server has ended: ${said}`)));
  });
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
});

after(async () => {
  await browser?.close();
  server?.kill("SIGTERM");
  await new Promise((resolve) => (server.exitCode === null ? server.on("exit", resolve) : resolve()));
  rmSync(folder, { recursive: true, force: true });
});

// A page on which whatever the console calls an error fails the test that uses it.
const open = async (options = {}) => {
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 }, ...options });
  page.setDefaultTimeout(LIMIT_MS);
  page.wrong = [];
  page.on("console", (message) => message.type() === "error" && page.wrong.push(message.text()));
  page.on("pageerror", (error) => page.wrong.push(error.message));
  return page;
};

const trigger = async (page) => {
  await page.goto(`${base}/dags/mill/trigger`);
  await page.getByRole("button", { name: "Trigger a run" }).click();
  await page.waitForURL(/\/runs\/manual__/);
  return page.url();
};

// The DAGs folder is read a moment after the server is up.
const known = async (page) => {
  for (let end = Date.now() + LIMIT_MS; Date.now() < end; ) {
    if ((await page.request.get(`${base}/dags/mill`)).ok()) return;
  }
  assert.fail("the DAG has not appeared");
};

test("a run fails, its error is read, it is cleared and succeeds", async () => {
  const page = await open();
  await known(page);
  await page.goto(`${base}/dags/mill/trigger`);
  await page.getByLabel("times").fill("none");
  await page.getByRole("button", { name: "Trigger a run" }).click();
  await page.getByText("is not of type integer").waitFor();
  // The refusal has a status of its own, which the console tells.
  page.wrong = page.wrong.filter((text) => !text.includes("422"));
  const run = await trigger(page);
  await page.locator("#state .s-failed").waitFor();

  await page.locator("#tasks a.id", { hasText: "work.fragile" }).click();
  await page.locator("#log").getByText("the mill is broken", { exact: true }).waitFor();
  const error = page.locator("#first-error");
  await error.click();
  await page.waitForFunction(() => /^#L\d+$/.test(location.hash));
  assert.equal(await page.locator("#log img").count(), 0);

  await page.locator("#clear").click();
  await page.getByRole("button", { name: "Clear 2 task instances" }).waitFor();
  writeFileSync(join(folder, "mended"), "");
  await page.getByRole("button", { name: "Clear 2 task instances" }).click();
  await page.locator("#state .s-success").waitFor();
  assert.match(await page.locator("#tries").innerText(), /Try 1[\s\S]*failed[\s\S]*Try 2[\s\S]*success/);
  await page.goto(run);
  await page.locator("#state .s-success").waitFor();
  assert.deepEqual(page.wrong, []);
  await page.close();
});

test("a run goes green in the open page, and the grid is moved through by keys", async () => {
  writeFileSync(join(folder, "mended"), "");
  const page = await open();
  await known(page);
  await page.goto(`${base}/dags/mill`);
  const other = await open();
  await trigger(other);
  // Nobody loads the first page again.
  await page.locator("#grid thead .runs .s-success").first().waitFor();
  await page.locator("#grid tr[data-task=done] td.s-success").last().waitFor();
  await page.keyboard.press("ArrowRight");
  // Past `start` and the group.
  for (let row = 0; row < 3; row++) await page.keyboard.press("ArrowDown");
  assert.equal(await page.evaluate(() => document.activeElement.parentElement.dataset.task), "work.fragile");
  await page.keyboard.press("c");
  await page.waitForURL(/clear\?task=work\.fragile/);
  await page.goBack();
  await page.keyboard.press("/");
  await page.keyboard.type("sturdy");
  await page.waitForURL(/task=sturdy/);
  await page.locator("#grid tr[data-task=done]").waitFor({ state: "detached" });
  await page.goto(`${base}/dags/mill`);
  await page.getByLabel("Close work").click();
  await page.waitForURL(/fold=work/);
  await page.locator("#grid tr[data-task='work.sturdy']").waitFor({ state: "detached" });
  assert.deepEqual(page.wrong, []);
  await other.close();
  await page.close();
});

test("the palette finds a task, and the DAG can be paused from it", async () => {
  const page = await open();
  await known(page);
  await page.goto(base);
  await page.keyboard.press("Control+k");
  await page.keyboard.type("mill sturd");
  await page.getByRole("option", { name: /work\.sturdy/ }).waitFor();
  await page.keyboard.press("Enter");
  await page.waitForURL(/work\.sturdy/);
  await page.keyboard.press("Control+k");
  await page.keyboard.type("mill");
  await page.getByRole("option", { name: "Pause mill" }).click();
  await page.getByRole("button", { name: "Unpause" }).click();
  await page.getByRole("button", { name: "Pause", exact: true }).waitFor();
  assert.deepEqual(page.wrong, []);
  await page.close();
});

test("every page is accessible, fits a phone and makes the console say nothing", async () => {
  const page = await open();
  await known(page);
  const run = new URL(await trigger(page)).pathname;
  await page.locator("#state .s-success, #state .s-failed").waitFor();
  const { dag_run_id: weighing } = await call("/dags/sacks/dagRuns", { logical_date: null });
  const weighed = `/dags/sacks/runs/${encodeURIComponent(weighing)}/tasks/weighed`;
  await page.goto(base + weighed);
  await page.locator("#state .s-success").waitFor();
  await page.reload();
  await page.getByText("24.5").first().waitFor();
  await page.getByText("heavy").first().waitFor();
  const of = ["", "/graph", "/gantt", "/data", "/calendar", "/durations", "/runs", "/backfills", "/code", "/details", "/audit", "/trigger"];
  const paths = ["/", "/dags", "/runs", "/docs", "/account", ...of.map((view) => `/dags/mill${view}`), run, `${run}/tasks/work.sturdy`, `${run}/clear`, "/dags/sacks/data", weighed];
  paths.push(...["connections", "variables", "pools", "workers", "users", "audit", "config"].map((view) => `/admin/${view}`));
  await page.goto(`${base}/assets`);
  paths.push("/assets", await page.locator("a.id", { hasText: "flour" }).getAttribute("href"));
  // With the panel open.
  const shown = `${run}/tasks/work.sturdy`;
  paths.push(`/dags/mill#task=${encodeURIComponent(shown)}`, `/dags/mill/graph#task=${encodeURIComponent(shown)}`);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const path of paths) {
      await show(page, path);
      // The policy forbids scripts from elsewhere, so the tool goes in through the debugger.
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run({ resultTypes: ["violations"] }));
      const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
      const words = serious.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.html).join(" ")}`);
      assert.deepEqual(words, [], `${path} in ${colorScheme}`);
    }
  }
  await page.setViewportSize({ width: 400, height: 800 });
  for (const path of paths) {
    await show(page, path);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${path} is ${wide} pixels too wide`);
  }
  assert.deepEqual(page.wrong, []);
  await page.close();
});

// What the REST API answers to a request with a body.
const call = async (path, body) => {
  const headers = { "Content-Type": "application/json" };
  const reply = await fetch(`${base}/api/v2${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  assert.equal(reply.status, 200);
  return reply.json();
};

// Another hash alone loads no page.
const show = async (page, path) => {
  await page.goto("about:blank");
  await page.goto(base + path);
  if (path.includes("#task=")) await page.locator("#instance").waitFor();
};

test("a task instance is looked at and cleared beside the grid and the graph", async () => {
  writeFileSync(join(folder, "mended"), "");
  const page = await open();
  await known(page);
  await trigger(page);
  await page.locator("#state .s-success").waitFor();
  await page.goto(`${base}/dags/mill`);
  const cell = page.locator("#grid tr[data-task=done] td[class^=s-]").last();
  await cell.click();
  const panel = page.locator("aside.panel");
  await panel.getByRole("heading", { name: "done" }).waitFor();
  await panel.getByText("done for world", { exact: true }).waitFor();
  assert.match(page.url(), /#task=/);
  // The panel follows the place in the grid.
  await cell.focus();
  await page.keyboard.press("ArrowUp");
  await panel.getByRole("heading", { name: "work.fragile" }).waitFor();
  await page.keyboard.press("Escape");
  await panel.waitFor({ state: "hidden" });
  assert.doesNotMatch(page.url(), /#task=/);
  await page.keyboard.press("Enter");
  await panel.getByRole("link", { name: "Clear" }).click();
  await panel.getByRole("button", { name: /^Clear \d task instances?$/ }).click();
  await panel.getByRole("link", { name: /^Try 2 / }).waitFor();
  await panel.locator("#instance:not([data-busy])").waitFor();
  assert.match(page.url(), /\/dags\/mill#task=/);
  // The page with the same address shows the same.
  await page.reload();
  await panel.getByRole("heading", { name: "work.fragile" }).waitFor();
  await page.goto(`${base}/dags/mill/graph`);
  await page.locator("a.node", { hasText: "done" }).focus();
  await page.keyboard.press("Enter");
  await panel.getByRole("heading", { name: "done" }).waitFor();
  await panel.getByRole("link", { name: "Open", exact: true }).click();
  await page.waitForURL(/\/tasks\/done$/);
  await page.locator("#rendered").getByText("echo done for world").waitFor();
  await page.getByText("Processor time").waitFor();
  assert.deepEqual(page.wrong, []);
  await page.close();
});

test("the whole log is searched", async () => {
  const lines = 5_000;
  writeFileSync(
    join(folder, "dags", "long.yaml"),
    `schedule: null\ntasks:\n  talk: { operator: bash, bash_command: "for i in $(seq ${lines}); do echo line $i of many; done" }\n`,
  );
  const page = await open();
  for (let end = Date.now() + LIMIT_MS; !(await page.request.get(`${base}/dags/long`)).ok(); ) {
    assert.ok(Date.now() < end, "the DAG has not appeared");
  }
  await page.goto(`${base}/dags/long/trigger`);
  await page.getByRole("button", { name: "Trigger a run" }).click();
  await page.waitForURL(/\/runs\/manual__/);
  await page.locator("#state .s-success").waitFor();
  await page.locator("#tasks a.id", { hasText: "talk" }).click();
  // In the middle of what is left out at first.
  await page.getByLabel("Search the log").fill("line 2500 OF");
  await page.locator("#log .at", { hasText: "line 2500 of many" }).waitFor();
  assert.equal(await page.locator("#log-hits").innerText(), "1 of 1");
  const numbers = await page.locator("#log li[id]").evaluateAll((items) => items.map((item) => Number(item.id.slice(1))));
  assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b));
  await page.getByLabel("Search the log").fill("nowhere at all");
  await page.getByText("nothing found").waitFor();
  assert.deepEqual(page.wrong, []);
  await page.close();
});

test("an asset is updated by hand, and a user is made who gets a link", async () => {
  const page = await open();
  await known(page);
  await page.goto(`${base}/assets`);
  await page.locator("#canvas a.node", { hasText: "baker" }).waitFor();
  await page.locator("#assets a.id", { hasText: "flour" }).click();
  await page.getByLabel("Extra").fill('{"kilos": 5}');
  await page.getByRole("button", { name: "Write the event" }).click();
  await page.locator("#events").getByText('"kilos":5').waitFor();
  await page.goto(`${base}/admin/users`);
  await page.getByLabel("Name", { exact: true }).fill("ada");
  await page.getByLabel("Role", { exact: true }).selectOption("admin");
  await page.getByRole("button", { name: "Make the user" }).click();
  await page.getByRole("button", { name: "Login link for ada" }).click();
  assert.match(await page.locator("#link").innerText(), /^http:\/\/127\.0\.0\.1:\d+\/login\/link\?token=/);
  await page.goto(`${base}/admin/audit`);
  await page.getByRole("link", { name: "create_user" }).first().waitFor();
  assert.deepEqual(page.wrong, []);
  await page.close();
});

test("pages can be read without scripts", async () => {
  const page = await open({ javaScriptEnabled: false });
  await page.goto(`${base}/dags/mill`);
  assert.ok((await page.locator("#grid tr[data-task=done] td").count()) > 0);
  await page.goto(`${base}/dags?q=mill`);
  assert.equal(await page.getByText("1 DAG").count(), 1);
  await page.goto(`${base}/dags/mill/graph`);
  assert.ok(await page.locator("#graph").isVisible());
  for (const path of ["/assets", "/admin/audit", "/admin/users", "/dags/mill/audit"]) {
    assert.equal((await page.goto(base + path)).status(), 200);
  }
  await page.close();
});
