// Everything goes wrong while a visitor tracks: `lost.mjs chromium EXECUTABLE DIST NODE KEY SEED PAGES`. Requests fail, are answered with errors, or
// are taken and their answer lost; the line is cut; tabs are closed at any moment, reloaded, left, left while the client closes, crashed. Prints, as its last line, which
// events must be at the core once, and which may.

import { BLANK, BLANK_JS, chromium, shop, until } from "./browsers.mjs";

const [, , , executable, dist, node, key, seed, pages] = process.argv;
/** What a crash can cost, as docs/browser-sdk.md says. */
const CRASH_MS = 1_000;
const random = generator(Number(seed) >>> 0);
const below = (limit) => Math.floor(random() * limit);
const pick = (list) => list[below(list.length)];
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

const site = await shop({ connect: node, pages: { "/": BLANK, "/blank.js": BLANK_JS, "/other": BLANK }, folders: { "/sdk/": dist } });
const { context, close } = await chromium(executable);
/** When each `track` was known to have returned. */
const returned = new Map();
await context.exposeBinding("returned", (_, n) => void returned.set(n, Date.now()));

/** How requests with events fare. */
const fates = {
  pass: (route) => route.continue(),
  fail: (route) => route.abort("connectionfailed"),
  refuse: (route) => route.fulfill({ status: 503, headers: { "access-control-allow-origin": "*", "retry-after": "1" }, body: '{"error":{"code":"outbox_full","message":"full"}}' }),
  break: (route) => route.fulfill({ status: 502, headers: { "access-control-allow-origin": "*" }, body: "Bad gateway" }),
  // The node has them, and the page does not know.
  lose: async (route) => {
    await route.fetch().catch(() => {});
    await route.abort("connectionreset").catch(() => {});
  },
};
let fate = "pass";
await context.route(/\/v1\/browser\/events/, (route) => {
  const chosen = fate === "any" ? pick(Object.keys(fates)) : fate;
  return Promise.resolve(fates[chosen](route)).catch(() => {});
});

const must = [];
const may = [];
const ends = { close: 0, clean: 0, crash: 0, reload: 0, leave: 0, assign: 0 };

async function visit(path = "/") {
  const page = await context.newPage();
  await page.goto(`${site.origin}${path}`);
  await until("the SDK to be loaded", () => page.evaluate(() => document.documentElement.dataset.loaded === "yes"));
  return page;
}

/** Makes a client in the page that tracks numbers from `from` on, again and again. */
const start = (page, from, every) =>
  page.evaluate(
    ([options, from, every]) => {
      window.client = sdk.createClient(options);
      let n = from;
      window.ticking = setInterval(() => {
        const mine = n++;
        client.track("click", { n: mine });
        void returned(mine);
      }, every);
    },
    [{ baseUrl: node, key, timeoutMs: 2_000, placements: ["hero"] }, from, every],
  );

for (let at = 0; at < Number(pages); at++) {
  fate = pick(["pass", "any", "any", "fail", "lose"]);
  const page = await visit();
  const from = at * 100_000;
  await start(page, from, 1 + below(40));
  const offline = below(3) === 0;
  if (offline) await context.setOffline(true);
  const end = pick(Object.keys(ends));
  ends[end] += 1;
  await sleep(end === "crash" ? CRASH_MS + below(1_500) : below(1_500));
  // A second tab of the same visitor, which may take over what the first one leaves.
  const second = !offline && below(3) === 0 ? await visit() : undefined;
  if (second) await start(second, from + 50_000, 1 + below(40));
  const before = Date.now();
  if (end === "crash") {
    const crashed = new Promise((done) => page.once("crash", done));
    page.goto("chrome://crash").catch(() => {});
    await crashed;
  } else if (end === "clean") {
    await Promise.race([page.evaluate(() => (clearInterval(ticking), client.close())), sleep(3_000)]);
  } else if (end === "reload" && !offline) {
    await page.reload();
  } else if (end === "leave" && !offline) {
    await page.goto(`${site.origin}/other`);
  } else if (end === "assign" && !offline) {
    // Tracked, closed and left before anything of it was awaited.
    const last = from + 40_000;
    const left = page.waitForURL("**/other");
    const act = (last) => {
      clearInterval(ticking);
      client.track("click", { n: last });
      client.close();
      location.assign("/other");
    };
    await page.evaluate(act, last).catch(() => {});
    await left;
    returned.set(last, Date.now());
  }
  await page.close();
  await second?.close();
  if (offline) await context.setOffline(false);
  for (const [n, time] of returned) {
    const lost = end === "crash" && n < from + 50_000 && time > before - CRASH_MS;
    (lost ? may : must).push(n);
  }
  returned.clear();
}

fate = "pass";
const last = await visit();
await last.evaluate((options) => void (window.client = sdk.createClient(options)), { baseUrl: node, key });
const waiting = () => last.evaluate(() => Object.keys(localStorage).filter((key) => key.startsWith("selvedge:events:")).length);
await until("all that was left to be sent", async () => (await last.evaluate(() => client.flush())) && (await waiting()) === 0, 60_000);
await close();
await site.close();
console.log(JSON.stringify({ must, may, ends }));

function generator(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
