// Measures the first paint of pages, as the browser tells it: `node paint.mjs BASE PATH...`
import { chromium } from "playwright-core";

const LOOKS = 5;
const [base, ...paths] = process.argv.slice(2);
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
for (const path of paths) {
  const times = [];
  for (let look = 0; look < LOOKS; look++) {
    // A context of its own has nothing cached.
    const context = await browser.newContext({ viewport: { width: 1400, height: 900 } });
    const page = await context.newPage();
    await page.goto(base + path);
    await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0);
    times.push(await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
    await context.close();
  }
  times.sort((a, b) => a - b);
  const middle = times[Math.floor(LOOKS / 2)];
  console.log(`  first paint of ${path.padEnd(52)} ${middle.toFixed(0).padStart(5)} ms   bar 1,000 ms`);
}
await browser.close();
