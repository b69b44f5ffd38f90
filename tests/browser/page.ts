// The page as tests drive it: opening, asking, waiting, reading what it reports.
// On a software GPU everything takes long, so tests wait for what the page shows and never for a length of time.
import { expect, test as base, type Locator, type Page } from "@playwright/test";
import type { Report } from "../../www/report";
import { strings } from "../../www/strings";

export const QUESTION = "Tell me a story about Lily and a dog.";
// Compiling shaders and answering, on two cores without a GPU.
export const LOADED_MS = 300_000;
export const ANSWERED_MS = 300_000;

export const test = base.extend<{ problems: string[] }>({
  /** Uncaught errors of the page and breaches of its content security policy; none may be left at the end of a test. */
  problems: [
    async ({ page }, use) => {
      const problems: string[] = [];
      page.on("pageerror", (error) => problems.push(error.message));
      page.on("console", (message) => {
        if (/Content Security Policy/i.test(message.text())) problems.push(message.text());
      });
      await use(problems);
      expect(problems).toEqual([]);
    },
    { auto: true },
  ],
});

export function phase(page: Page, name: string | RegExp) {
  return expect(page.locator("html"), `the page is ${name}`);
}

export async function idle(page: Page): Promise<void> {
  await phase(page, "idle").toHaveAttribute("data-phase", /^(idle|failed)$/, {
    timeout: LOADED_MS,
  });
  await failedNot(page);
}

/** A page that has failed says why: sooner, and more, than one that is waited for in vain. */
async function failedNot(page: Page): Promise<void> {
  const alerts = await page.getByRole("alert").allInnerTexts();
  await expect(page.locator("html"), alerts.join(" ")).toHaveAttribute("data-phase", "idle");
}

export async function open(page: Page, address = ""): Promise<void> {
  await page.goto(`./${address}`);
  await idle(page);
}

export async function limit(page: Page, tokens: number): Promise<void> {
  await set(page, strings.settings.labels.maxTokens, String(tokens));
}

export async function set(page: Page, label: string, value: string): Promise<void> {
  const field = page.getByLabel(label, { exact: true });
  if (!(await field.isVisible())) await button(page, strings.settings.title).click();
  await field.fill(value);
  await field.blur();
  await button(page, strings.settings.title).click();
}

export async function ask(page: Page, question = QUESTION): Promise<void> {
  await page.getByLabel(strings.ask.label).fill(question);
  await page.keyboard.press("Enter");
}

/** Waits until the last question has all its answers. */
export async function answered(page: Page): Promise<Report> {
  await phase(page, "idle").toHaveAttribute("data-phase", "idle", { timeout: ANSWERED_MS });
  const last = page.locator("hd-exchange").last();
  const lanes = await last.locator("hd-answer").count();
  expect(lanes).toBeGreaterThanOrEqual(2);
  await expect(last.locator("hd-answer[data-state=done]")).toHaveCount(lanes, {
    timeout: ANSWERED_MS,
  });
  const { send, sendThree } = strings.ask;
  await expect(button(page, send).or(button(page, sendThree))).toBeVisible();
  return report(page);
}

export async function report(page: Page): Promise<Report> {
  return JSON.parse((await page.locator("#report").textContent()) ?? "null") as Report;
}

export function button(page: Page | Locator, name: string) {
  return page.getByRole("button", { name, exact: true });
}

export function answer(page: Page, lane: 0 | 1 | 2) {
  return page.locator(`hd-exchange:last-of-type hd-answer[data-lane="${lane}"]`);
}

/** By token of an answer that was looked at: its id, what the first lane holds likeliest, and what the second does. */
export async function scoredIds(page: Page): Promise<number[][]> {
  const tokens = page.locator("hd-look [role=toolbar] button");
  return tokens.evaluateAll((all) =>
    all.map((token) => (token as HTMLElement).dataset.ids?.split(" ").map(Number) ?? []),
  );
}

/** Waits for the alert; once it is there, it must be the right one. */
export async function expectAlert(page: Page, title: string): Promise<Locator> {
  const alert = page.getByRole("alert");
  await expect(alert).toBeVisible({ timeout: LOADED_MS });
  await expect(alert).toContainText(title, { timeout: 1000 });
  return alert;
}

export async function expectNoSidewaysScroll(page: Page): Promise<void> {
  const { content, window } = await page.evaluate(() => ({
    content: document.documentElement.scrollWidth,
    window: innerWidth,
  }));
  expect(content).toBeLessThanOrEqual(window);
}
