// What can be taken away from a comparison, and what comes of it elsewhere.
import { readFile } from "node:fs/promises";
import { expect, type Browser, type Page } from "@playwright/test";
import type { Report, SavedReport } from "../../www/report";
import { strings } from "../../www/strings";
import { expectAccessible } from "./accessible";
import {
  answer,
  ANSWERED_MS,
  answered,
  ask,
  button,
  expectNoSidewaysScroll,
  idle,
  limit,
  LOADED_MS,
  open,
  set,
  test,
} from "./page";

test.describe.configure({ timeout: LOADED_MS + 4 * ANSWERED_MS });

/** The address that the last exchange's button makes. */
async function makeLink(page: Page): Promise<string> {
  const last = page.locator("hd-exchange").last();
  await button(last, strings.share.link).click();
  return last.getByLabel(strings.share.linkShown).inputValue();
}

/** Opens an address as somebody else: a browser that has never been here. */
async function elsewhere<T>(
  browser: Browser,
  address: string,
  see: (page: Page) => Promise<T>,
): Promise<T> {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    await page.goto(address);
    return await see(page);
  } finally {
    await context.close();
  }
}

const texts = ({ lanes }: Report) => lanes.map(({ text }) => text);
const plans = ({ lanes }: Report) => lanes.map(({ plan }) => plan);

test("a third lane answers beside the two, goes along in the link, and is kept", async ({
  page,
  browser,
}) => {
  await open(page, "?plans=full,half");
  await limit(page, 12);
  await button(page, strings.lane.third).click();
  // A healed half comes first.
  await expect(page.getByLabel(strings.lane.plan(2))).toHaveValue("healed");
  await ask(page);
  const made = await answered(page);
  expect(plans(made)).toEqual(["full", "half", "healed"]);
  expect(made.order).toEqual([0, 1, 2]);
  const [, second, third] = made.lanes;
  expect(third?.layers).toHaveLength(6);
  expect(third?.layers).not.toEqual(second?.layers);
  expect(third?.tokens).toHaveLength(12);
  await expectAccessible(page, "three lanes");
  for (const width of [320, 768, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    await expectNoSidewaysScroll(page);
  }
  const address = await makeLink(page);
  expect(address).toContain("plans=full,half,healed");

  await elsewhere(browser, address, async (other) => {
    await expect(other.locator("[data-same]")).toHaveAttribute("data-same", "true", {
      timeout: LOADED_MS + 4 * ANSWERED_MS,
    });
    expect(texts(await answered(other))).toEqual(texts(made));
  });

  await page.reload();
  await idle(page);
  await expect(answer(page, 2).locator(".words")).toHaveText(texts(made)[2] ?? "");
  // From the next answer on there are two again, as the address has it.
  await button(page, strings.ask.regenerate).click();
  expect(plans(await answered(page))).toEqual(["full", "half"]);
});

test("a link opened in a fresh profile shows the same conversation, word for word", async ({
  page,
  browser,
  baseURL,
}) => {
  await open(page, "?plans=full,half");
  await set(page, strings.settings.labels.temperature, "0.9");
  await set(page, strings.settings.labels.topK, "40");
  await set(page, strings.settings.labels.seed, "7");
  await set(page, strings.settings.system, "Speak of <b>dogs</b>.");
  await limit(page, 12);
  await ask(page);
  await answered(page);
  await ask(page, "And then?");
  await answered(page);
  // Another seed for the second question.
  await button(page, strings.ask.regenerate).click();
  const made = await answered(page);
  expect(plans(made)).toEqual(["full", "half"]);
  const address = await makeLink(page);
  expect(address.startsWith(baseURL ?? "")).toBe(true);
  expect(address.length).toBeLessThan(400);

  await elsewhere(browser, address, async (other) => {
    await expect(other.getByText(strings.link.opened(2))).toBeVisible();
    await expect(other.locator("[data-same]")).toHaveAttribute("data-same", "true", {
      timeout: LOADED_MS + 4 * ANSWERED_MS,
    });
    const seen = await answered(other);
    await expect(other.locator("hd-exchange")).toHaveCount(2);
    expect(plans(seen)).toEqual(plans(made));
    expect(texts(seen)).toEqual(texts(made));
    // Whoever gets it can pass it on.
    expect(await makeLink(other)).toBe(address);
    // And leave it behind.
    await button(other, strings.ask.newConversation).click();
    expect(new URL(other.url()).hash).toBe("");
    await expect(other.getByText(strings.link.opened(2))).toBeHidden();
  });
});

test("a link whose answers come out otherwise says so", async ({ page }) => {
  await open(page, "?plans=full,gone#ask=1&q=Hello!&max=4&same=00000000.00000000");
  await answered(page);
  await expect(page.getByText(strings.link.differs)).toBeVisible();
  await expect(page.getByText(strings.link.unknownPlans(["gone"]))).toBeVisible();
  // Another link in the same tab.
  await page.evaluate(() => (location.hash = "#ask=1&q=Hi!&t=hot"));
  await expect(page.getByText(/This link cannot be opened/)).toBeVisible({ timeout: LOADED_MS });
  await idle(page);
  await expect(page.locator("hd-exchange")).toHaveCount(0);
});

test("a picture and a report can be saved", async ({ page }) => {
  await open(page);
  await limit(page, 16);
  await ask(page);
  const made = await answered(page);
  const address = await makeLink(page);

  const [picture] = await Promise.all([
    page.waitForEvent("download"),
    button(page, strings.share.picture).click(),
  ]);
  expect(picture.suggestedFilename()).toBe("halfdepth-tell-me-a-story-about-lily-and-a-dog.png");
  const png = await readFile(await picture.path());
  expect(png.subarray(1, 4).toString()).toBe("PNG");
  expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([1200, 630]);
  // Two answers in ink, not an empty sheet.
  expect(png.length).toBeGreaterThan(20_000);
  await test.info().attach("picture", { body: png, contentType: "image/png" });

  const [file] = await Promise.all([
    page.waitForEvent("download"),
    button(page, strings.share.report).click(),
  ]);
  const saved = JSON.parse(await readFile(await file.path(), "utf8")) as SavedReport;
  expect(saved).toMatchObject({
    format: "halfdepth-comparison",
    version: 1,
    link: address,
    ...made,
  });
  expect(saved.settings.maxTokens).toBe(16);
});
