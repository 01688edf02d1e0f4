// What the SDK costs a page: `speed.mjs BROWSER EXECUTABLE DIST NODE KEY ROUNDS`. Prints, as its last line, in microseconds: the time of
// 10,000 `track()` in one go; what else the main thread does until all of them are answered; and a decision by the SDK beside the same
// request without it. And of how many tasks the browser says that they were long (50 ms).

import { BLANK, BLANK_JS, chromium, shop, until } from "./browsers.mjs";

const [, , , executable, dist, node, key, rounds] = process.argv;
const TRACKS = 10_000;
const DECISIONS = 200;
const site = await shop({ connect: node, pages: { "/": BLANK, "/blank.js": BLANK_JS }, folders: { "/sdk/": dist } });
const browser = await chromium(executable);
const track = [];
const sending = [];
const long = [];
const own = [];
const bare = [];
for (let round = 0; round < Number(rounds); round++) {
  const page = await browser.page();
  await page.goto(`${site.origin}/`);
  await until("the SDK to be loaded", () => page.evaluate(() => document.documentElement.dataset.loaded === "yes"));
  const options = { baseUrl: node, key, subject: "u-1", context: { country: "DE", cart_value: 1 }, placements: ["hero", "theme"], timeoutMs: 10_000, streaming: false };
  await page.evaluate((options) => (window.client = sdk.createClient(options)).ready(), options);

  // One after the other in turn, so that both see the same machine.
  const times = await page.evaluate(
    async ([url, count]) => {
      const body = JSON.stringify({ subject: "u-1", session: "s", context: { country: "DE", cart_value: 1 }, placements: [{ placement: "hero" }, { placement: "theme" }] });
      const own = [];
      const bare = [];
      for (let at = 0; at < count; at++) {
        let start = performance.now();
        await (await fetch(url, { method: "POST", body, credentials: "omit" })).json();
        bare.push((performance.now() - start) * 1000);
        start = performance.now();
        await client.decideAll(["hero", "theme"]);
        own.push((performance.now() - start) * 1000);
      }
      return { own, bare };
    },
    [`${node}/v1/browser/decide?key=${key}&v=1`, DECISIONS],
  );
  own.push(...times.own);
  bare.push(...times.bare);

  await page.evaluate(() => client.flush());
  const session = await browser.context.newCDPSession(page);
  await session.send("Performance.enable");
  const busy = async () => (await session.send("Performance.getMetrics")).metrics.find(({ name }) => name === "TaskDuration").value * 1e6;
  await page.evaluate(() => {
    window.long = [];
    new PerformanceObserver((list) => long.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: "longtask" });
  });
  const before = await busy();
  // By the page's clock: what the browser tells of the time of scripts leaves out those that a driver runs.
  const took = await page.evaluate((count) => {
    const start = performance.now();
    for (let at = 0; at < count; at++) client.track("view_item", { item_id: `sku-${at}`, price: 59.9 });
    return (performance.now() - start) * 1000;
  }, TRACKS);
  track.push(took);
  await until("all to be sent", () => page.evaluate(() => client.flush()));
  sending.push((await busy()) - before - took);
  long.push(await page.evaluate(() => window.long.length));
  await page.evaluate(() => client.close());
  await page.close();
}
await browser.close();
await site.close();
console.log(JSON.stringify({ track, sending, long, own, bare }));
