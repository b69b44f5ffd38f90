// The conversation outlives a reload, a lost device, and a link that is looked at in between.
import { expect, type Page } from "@playwright/test";
import type { Report } from "../../www/report";
import { strings } from "../../www/strings";
import {
  ANSWERED_MS,
  answered,
  ask,
  button,
  expectAlert,
  idle,
  limit,
  LOADED_MS,
  open,
  test,
} from "./page";

test.describe.configure({ timeout: 3 * LOADED_MS + 4 * ANSWERED_MS });

function questions(page: Page) {
  return page.locator("hd-exchange .question .words");
}

const told = ({ lanes }: Report) => lanes.map(({ stats }) => stats?.promptTokens ?? 0);

/** Each lane read what had been said before besides the question. */
function expectGoesOn(then: Report, before: Report): void {
  for (const [lane, tokens] of told(then).entries()) {
    expect(tokens).toBeGreaterThan(8 + (told(before)[lane] ?? Infinity));
  }
}

test("a reload brings the conversation back, to go on with or to leave", async ({ page }) => {
  await open(page);
  await limit(page, 8);
  await ask(page, "Hello!");
  const first = await answered(page);
  await page.reload();
  // It stands there before the model does.
  await expect(page.locator("hd-exchange")).toHaveCount(1);
  await expect(page.locator("hd-exchange")).toContainText(first.lanes[1]?.text.trim() ?? "");
  await expect(page.locator("hd-exchange")).toContainText(strings.lane.part(6, 12));
  await idle(page);
  await limit(page, 8);
  await ask(page, "And then?");
  const second = await answered(page);
  expectGoesOn(second, first);

  // A link is looked at, and leaves no trace.
  await page.goto("./#ask=1&q=Hi!&max=4");
  await expect(questions(page)).toHaveText(["Hi!"], { timeout: LOADED_MS });
  await answered(page);
  await page.getByRole("link", { name: strings.link.own }).click();
  await expect(questions(page)).toHaveText(["Hello!", "And then?"]);

  await button(page, strings.ask.newConversation).click();
  await expect(page.locator("hd-exchange")).toHaveCount(0);
  await page.reload();
  await idle(page);
  await expect(page.locator("hd-exchange")).toHaveCount(0);
});

test("where the browser keeps nothing, the page says so and works on", async ({ page }) => {
  await page.addInitScript(() => {
    Object.defineProperty(globalThis, "indexedDB", {
      get: () => {
        throw new DOMException("denied", "SecurityError");
      },
    });
  });
  await open(page);
  await limit(page, 4);
  await ask(page, "Hello!");
  await answered(page);
  await expect(page.getByText(strings.history.notKept)).toBeVisible();
});

test("a lost device keeps the conversation, and a new one goes on with it", async ({
  page,
  browser,
}) => {
  await open(page);
  await limit(page, 8);
  await ask(page, "Hello!");
  const first = await answered(page);
  // The process that holds the device ends, as it does when a driver crashes.
  const session = await browser.newBrowserCDPSession();
  await session.send("Browser.crashGpuProcess");
  await ask(page, "And then?");
  const alert = await expectAlert(page, strings.errors.titles.DeviceLost);
  await expect(alert).toContainText(strings.errors.kept);
  await expect(page.locator("hd-exchange")).toHaveCount(2);
  await expect(page.locator("hd-exchange").first()).toContainText(
    first.lanes[0]?.text.trim() ?? "",
  );
  await button(page, strings.errors.reload).click();
  await idle(page);
  await button(page, strings.ask.regenerate).click();
  const again = await answered(page);
  expect(again.question).toBe("And then?");
  expect(again.lanes.map(({ error }) => error)).toEqual([null, null]);
  expectGoesOn(again, first);
});
