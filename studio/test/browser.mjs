/**
 * The page in a real browser: what it shows, whether it can be used by keyboard, whether axe finds fault, how it looks.
 *
 * Serves `dist/` and a recorded overview from a server of its own; with OPENLEDGER_URL it also opens that live node, and with OPENLEDGER_TOKEN
 * reads what is private there.
 * Screenshots go to test/out. Everything it starts is closed again, also when a check fails.
 */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";

import AxeBuilder from "@axe-core/playwright";
import { chromium } from "playwright-core";

import { KEY, serve } from "./server.mjs";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const WIDTHS = [1280, 360];
const out = new URL("out/", import.meta.url).pathname;
const fixture = JSON.parse(readFileSync(new URL("fixtures/overview.json", import.meta.url), "utf8"));

/** Runs `body` on a fresh page; fails on script errors and on requests to anywhere but `origin`. */
async function onPage(browser, origin, { key, hash, ...options }, body) {
  const context = await browser.newContext({ locale: "en-GB", timezoneId: "UTC", reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== origin) faults.push(`asked elsewhere: ${request.url()}`);
  });
  try {
    await page.goto(`${origin}/${hash ?? (key === undefined ? "" : `#key=${encodeURIComponent(key)}`)}`);
    await body(page);
    assert.deepEqual(faults, [], "the page runs without errors and asks nobody but its node");
  } finally {
    await context.close();
  }
}

async function accessible(page, what) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const told = violations.map(
    (violation) =>
      `${violation.id}: ${violation.help} (${violation.nodes
        .map((node) => node.target.join(" "))
        .slice(0, 3)
        .join("; ")})`,
  );
  assert.deepEqual(told, [], `axe finds no fault: ${what}`);
}

async function noSidewaysScroll(page, width) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= width, `the page is ${wide} px wide in a window of ${width}`);
  // Cards clip what does not fit, so that an amount could lose its end without the page growing wider.
  const cut = await page
    .locator("article .amount")
    .evaluateAll((found) =>
      found
        .filter((one) => one.getBoundingClientRect().right > one.closest("article").getBoundingClientRect().right - 8)
        .map((one) => one.textContent),
    );
  assert.deepEqual(cut, [], `no amount is cut off in a window of ${width}`);
}

const checks = {
  async "the thread is shown from contributions to payouts"(page) {
    const newest = fixture.receipts[0];
    const card = page.locator(`[id="receipt-${newest.id}"]`);
    await card.locator("mark").first().waitFor();
    assert.equal(new URL(page.url()).hash, "", "the key is taken out of the address");
    assert.equal(await page.locator("article.card").count(), fixture.receipts.length);
    const marks = await card.locator("mark").allInnerTexts();
    assert.ok(
      marks.some((text) => text.startsWith("With an alignment gauge")),
      `marked: ${marks.join(" | ")}`,
    );
    // Two records share words of this answer, so its marks carry both numbers.
    assert.match(marks.join("|"), /is tightened to 40 N·m,\s*\(record 1, 2\)/);
    assert.match(await card.locator(".receipt-head").innerText(), /in the open epoch/);
    assert.match(await card.locator(".parts").innerText(), /river-gauge\s+chain-whip/);
    const payouts = page.locator("#payouts tbody tr");
    assert.equal(await payouts.count(), 10);
    await page
      .locator("#payouts")
      .getByRole("button", { name: `Show all ${fixture.payouts.length}` })
      .click();
    assert.equal(await payouts.count(), fixture.payouts.length);
    assert.match(await page.locator("#payouts tbody").innerText(), /model-builder/);
    assert.equal(await page.locator("#epochs tbody tr").count(), 2);
    assert.equal(await page.locator("b").count(), 0, "text of an answer never becomes markup");
  },
  async "amounts on the page are the exact amounts of the node"(page) {
    const newest = fixture.receipts[0];
    const card = page.locator(`[id="receipt-${newest.id}"]`);
    assert.equal(await card.locator(".price data").getAttribute("value"), newest.price);
    const values = await card
      .locator(".parts .part data")
      .evaluateAll((found) => found.map((one) => one.getAttribute("value")));
    const sum = values.reduce((sum, value) => sum + BigInt(value), 0n);
    assert.equal(sum.toString(), newest.price, "the four parts are the price");
  },
  async "one contributor has one colour in span, split and payout"(page) {
    const hues = (where) =>
      page.locator(where).evaluateAll((found) => found.map((one) => one.getAttribute("data-hue")));
    const named = (root) => `${root} .contributor:has-text("dark-adapted") .swatch`;
    const found = [
      ...(await hues(named("#contributions"))),
      ...(await hues(named("#answers"))),
      ...(await hues(named("#payouts"))),
    ];
    assert.ok(found.length >= 4, `seen ${found.length} times`);
    assert.equal(new Set(found).size, 1);
  },
  async "spans are walked by keyboard and tell their record"(page) {
    const card = page.locator(`[id="receipt-${fixture.receipts[0].id}"]`);
    await card.locator("mark").first().focus();
    assert.match(await card.locator(".sources").innerText(), /bicycle-repair\/008/);
    for (let steps = 0; steps < 3; steps += 1) await page.keyboard.press("]");
    const focused = page.locator("mark:focus");
    assert.equal(await focused.getAttribute("aria-pressed"), "true");
    assert.match(await focused.innerText(), /With an alignment gauge/);
    const source = card.locator(".sources");
    assert.match(await source.innerText(), /bicycle-repair\/048/);
    assert.match(await source.locator("strong").innerText(), /differ by less than 4 mm/);
    await page.keyboard.press("[");
    assert.doesNotMatch(await source.innerText(), /bicycle-repair\/048/);
  },
  async "a receipt opens as the node sent it, with the commands that check it"(page) {
    const newest = fixture.receipts[0];
    const raw = page.locator(`[id="receipt-${newest.id}"] details`);
    await raw.locator("summary").focus();
    await page.keyboard.press("Enter");
    await raw.locator(".bundle").waitFor();
    assert.match(await raw.locator(".bundle").innerText(), /"seed": 77/);
    await raw.locator('a[download="receipt.json"][href^="blob:"]').waitFor();
    assert.match(await raw.getByRole("status").innerText(), /the 11 lines of the split come out the same/);
    assert.match(await raw.locator(".commands").innerText(), new RegExp(`receipt show ${newest.id} --json`));
    await accessible(page, "an open receipt");
  },
};

async function recorded(browser) {
  for (const width of WIDTHS) {
    for (const colorScheme of ["light", "dark"]) {
      const server = await serve(fixture);
      try {
        await onPage(
          browser,
          server.origin,
          { viewport: { width, height: 900 }, colorScheme, key: KEY },
          async (page) => {
            for (const [name, check] of Object.entries(checks)) {
              await check(page);
              console.log(`ok  ${width} ${colorScheme}: ${name}`);
            }
            await accessible(page, `full, ${width} px, ${colorScheme}`);
            await noSidewaysScroll(page, width);
            await page
              .locator("details")
              .first()
              .evaluate((details) => (details.open = false));
            await page.getByRole("button", { name: "Show fewer" }).first().click();
            await page.evaluate(() => document.activeElement?.blur());
            await page.screenshot({ path: `${out}full-${width}-${colorScheme}.png`, fullPage: true });
          },
        );
      } finally {
        await server.close();
      }
    }
  }
}

/** The states that a full fixture never shows. */
async function states(browser) {
  const nothing = { ...fixture, contributions: [], receipts: [], epochs: [], payouts: [], datanets: [] };
  const server = await serve(nothing);
  try {
    await onPage(browser, server.origin, { viewport: { width: 1280, height: 900 } }, async (page) => {
      await page.getByText("No question has been answered yet.").waitFor();
      await accessible(page, "empty");
      await page.screenshot({ path: `${out}empty.png`, fullPage: true });
      server.show(fixture);
      await page.locator("article.card").first().waitFor();
      assert.equal(await page.locator("mark").count(), 0, "without a key no answer is shown");
      await page.getByText("Open this page with a key").first().waitFor();
      await accessible(page, "full, without a key");
      console.log("ok  an empty page fills by itself when answers arrive, without what is private");
      server.fail();
      await page.getByText("Last figures from").waitFor();
      assert.ok((await page.locator("article.card").count()) > 0, "what was known stays");
      await accessible(page, "stale");
      server.show(fixture);
      await page.getByText("Last figures from").waitFor({ state: "detached" });
      console.log("ok  a node that falls silent is said to be, and its last figures stay");
    });
    server.fail();
    await onPage(browser, server.origin, { viewport: { width: 1280, height: 900 } }, async (page) => {
      await page.getByText("The node does not answer").waitFor();
      await accessible(page, "failed");
      await page.screenshot({ path: `${out}failed.png`, fullPage: true });
      server.show(fixture);
      await page.getByRole("button", { name: "Ask now" }).click();
      await page.locator("article.card").first().waitFor();
      console.log("ok  a node that was silent from the start is asked again");
    });
  } finally {
    await server.close();
  }
}

/** A receipt is drawn after the page was loaded; its link leads to it all the same. */
async function linked(browser) {
  const server = await serve(fixture);
  try {
    const hash = `#receipt-${fixture.receipts[3].id}`;
    await onPage(browser, server.origin, { viewport: { width: 1280, height: 900 }, hash }, async (page) => {
      const card = page.locator("article.card:target");
      const top = () => card.evaluate((found) => found.getBoundingClientRect().top);
      await card.waitFor();
      assert.equal(`#${await card.getAttribute("id")}`, hash);
      assert.ok((await top()) < 100, `the linked receipt begins at ${await top()} px`);
      assert.equal(await page.evaluate(() => history.length), 2, "a step back leaves the page");
      // With a key the answers above it come one by one, and are long.
      await page.evaluate((key) => sessionStorage.setItem("openledger.key", key), KEY);
      await page.goto("about:blank");
      await page.goto(`${server.origin}/${hash}`);
      await page
        .locator(".answer")
        .nth(fixture.receipts.length - 1)
        .waitFor();
      assert.ok((await top()) < 100, `after the answers the linked receipt begins at ${await top()} px`);
      console.log("ok  a link to a receipt leads to it");
    });
  } finally {
    await server.close();
  }
}

/** Nobody looks, nobody asks; who looks again is told at once. */
async function hidden(browser) {
  const server = await serve(fixture);
  try {
    await onPage(browser, server.origin, { key: "of-another-node" }, async (page) => {
      await page.locator("article.card").first().waitFor();
      assert.equal(await page.evaluate(() => sessionStorage.length), 0, "a key that is not known here is forgotten");
    });
    await onPage(browser, server.origin, {}, async (page) => {
      await page.locator("article.card").first().waitFor();
      const hide = (hidden) =>
        page.evaluate((hidden) => {
          Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
          document.dispatchEvent(new Event("visibilitychange"));
        }, hidden);
      await page.clock.install();
      await hide(true);
      await page.clock.runFor(3_000);
      const before = server.asked();
      await page.clock.runFor(60_000);
      assert.equal(server.asked(), before, "a hidden page asks nothing");
      const answered = page.waitForResponse(/overview/);
      await hide(false);
      await answered;
      assert.equal(server.asked(), before + 1);
      console.log("ok  a hidden page asks nothing, and asks at once when it is seen again");
    });
  } finally {
    await server.close();
  }
}

/** A live node: whatever it holds, the page draws it, without faults. */
async function live(browser, url) {
  const origin = new URL(url).origin;
  const key = process.env.OPENLEDGER_TOKEN;
  await onPage(browser, origin, { viewport: { width: 1280, height: 900 }, key }, async (page) => {
    await page.locator('.pulse[data-state="live"]').waitFor();
    if (key !== undefined && (await page.locator("article.card").count()) > 0) {
      await page.locator(".answer").first().waitFor();
      await page.locator("details summary").first().click();
      await page.locator(".bundle").first().waitFor();
      assert.match(await page.locator(".bundle").first().innerText(), /"format": "openledger\/receipt-bundle\/v2"/);
    }
    await accessible(page, "a live node");
    await page.screenshot({ path: `${out}live.png`, fullPage: true });
    console.log(
      `ok  live node: ${await page.locator("article.card").count()} answers, ${await page.locator("mark").count()} marks`,
    );
  });
}

if (!existsSync(new URL("../dist/index.html", import.meta.url)))
  throw new Error("dist/ is not built: run `npm run build` first");
await mkdir(out, { recursive: true });
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGS });
try {
  await recorded(browser);
  await states(browser);
  await linked(browser);
  await hidden(browser);
  if (process.env.OPENLEDGER_URL) await live(browser, process.env.OPENLEDGER_URL);
} finally {
  await browser.close();
}
