// What the page says of two answers: where they part, how fast either is, and how sure that is.
import { readFile } from "node:fs/promises";
import { expect, type Page } from "@playwright/test";
import { departures } from "../../www/departures";
import { ROUNDS } from "../../www/measure";
import type { SavedReport } from "../../www/report";
import { strings } from "../../www/strings";
import type { Answer } from "../../www/turns";
import { expectAccessible } from "./accessible";
import {
  ANSWERED_MS,
  answer,
  answered,
  ask,
  button,
  limit,
  LOADED_MS,
  open,
  phase,
  test,
} from "./page";

test.describe.configure({ timeout: LOADED_MS + 4 * ANSWERED_MS });

/** What the browser paints as marked. */
function painted(page: Page, name: "departed" | "departs-first"): Promise<string[]> {
  return page.evaluate(
    (key) => [...(CSS.highlights.get(key) ?? [])].map((range) => (range as Range).toString()),
    name,
  );
}

test("words at which the second lane departs are marked, and the first is named", async ({
  page,
}) => {
  await open(page);
  await limit(page, 48);
  await ask(page);
  const { lanes } = await answered(page);
  const [full, half] = lanes.map(({ text }) => text);
  const cut = { first: lanes[0]?.finish !== "end-token", second: lanes[1]?.finish !== "end-token" };
  const found = departures(full ?? "", half ?? "", cut);
  if (found.first?.second == null)
    throw new Error("the lanes say the same: this test needs another question");
  const word = half?.slice(found.first.second.start, found.first.second.end) ?? "";
  await expect(answer(page, 1).locator(".departure")).toContainText(
    `word ${found.first.alike + 1} `,
  );
  await expect(answer(page, 1).locator(".departure")).toContainText(`“${word}”`);
  await expect(answer(page, 0).locator(".departure")).toHaveCount(0);
  expect(await painted(page, "departed")).toEqual(
    found.marked.map(({ start, end }) => half?.slice(start, end)),
  );
  expect(await painted(page, "departs-first")).toContain(word);

  // A replay marks what it has come to, and leaves no mark behind.
  await button(page, strings.replay.start).click();
  await button(page, strings.replay.skip).click();
  await expect.poll(() => painted(page, "departed")).toHaveLength(found.marked.length);
  await button(page, strings.ask.newConversation).click();
  await expect.poll(() => painted(page, "departed")).toEqual([]);
});

test("measuring again and again gives medians with their spread and the device's limit", async ({
  page,
}) => {
  await open(page);
  await limit(page, 8);
  await ask(page);
  const { lanes } = await answered(page);
  const last = page.locator("hd-exchange").last();
  await expect(last.locator("[data-share]").first()).toHaveText(strings.stats.notMeasured);
  await button(page, strings.measure.start(ROUNDS)).click();
  await phase(page, "measuring").toHaveAttribute("data-phase", "measuring");
  await expect(last.locator("hd-measurement table")).toBeVisible({ timeout: 4 * ANSWERED_MS });
  await expect(last.locator("[data-share]").first()).toContainText("%");
  await expectAccessible(page, "measured");
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    button(page, strings.share.report).click(),
  ]);
  const { measured } = JSON.parse(await readFile(await file.path(), "utf8")) as SavedReport;
  expect(measured).toMatchObject({ kind: "measured", rounds: ROUNDS, tokens: 8 });
  expect(measured?.bandwidth.bytesPerSecond).toBeGreaterThan(0);
  for (const lane of measured?.lanes ?? []) {
    for (const { least, median, most } of [lane.decodeTokensPerSecond, lane.timeToFirstTokenMs]) {
      expect(least).toBeGreaterThan(0);
      expect(median).toBeGreaterThanOrEqual(least);
      expect(most).toBeGreaterThanOrEqual(median);
    }
  }
  // The next question is answered as if nothing had been: what was measured left no trace in the lanes.
  await button(page, strings.ask.regenerate).click();
  expect((await answered(page)).lanes.map(({ text }) => text)).toEqual(
    lanes.map(({ text }) => text),
  );
});

test("a measurement is void once the tab was hidden, and can be stopped", async ({ page }) => {
  await open(page);
  await limit(page, 8);
  await ask(page);
  await answered(page);
  await button(page, strings.measure.start(ROUNDS)).click();
  await button(page, strings.ask.stop).click();
  await expect(page.getByText(strings.measure.stopped)).toBeVisible({ timeout: ANSWERED_MS });
  await button(page, strings.measure.start(ROUNDS)).click();
  // Headless windows are never covered: the browser is told that this one was, for a moment.
  await page.evaluate(() => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
    document.dispatchEvent(new Event("visibilitychange"));
    Reflect.deleteProperty(document, "hidden");
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await expect(page.getByText(strings.measure.hidden)).toBeVisible({ timeout: ANSWERED_MS });
});

test("markdown is laid out, prose is left as it is, and both are marked alike", async ({
  page,
}) => {
  // No model is needed to show an answer.
  await page.route(/\.bin$/, () => undefined);
  await page.goto("./");
  await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
  // The recording marks words too.
  await page.evaluate(() => document.querySelector("hd-app")?.remove());
  const show = (text: string) =>
    page.evaluate((said) => {
      const plan = {
        ...{ name: "p", title: "p", layers: [0], replaced: [], crossEntropy: null },
        ...{ figures: [null], weightBytesPerToken: 1 },
      };
      const value: Answer = {
        ...{ plan, state: "done", finish: "end-token", text: said, tokens: [], pieces: [] },
        ...{ started: null, stats: null, error: null },
      };
      const view =
        document.querySelector("body > hd-answer") ?? document.createElement("hd-answer");
      document.body.append(view);
      Object.assign(view, { answer: value, heading: "An answer" });
    }, text);
  const shown = page.locator("body > hd-answer .words");
  await show("# Why\n\n1. **Blue** light\n2. `scatters`\n\n```\nx < y\n```");
  await expect(shown.locator("ol > li")).toHaveText(["Blue light", "scatters"]);
  await expect(shown.locator("strong")).toHaveText(["Why", "Blue"]);
  await expect(shown.locator("pre")).toHaveText("x < y");
  await page.evaluate(() => {
    const view = document.querySelector<HTMLElementTagNameMap["hd-answer"]>("body > hd-answer");
    const at = view?.said.indexOf("scatters") ?? -1;
    view?.mark([{ start: at, end: at + "scatters".length }], null);
  });
  expect(await painted(page, "departed")).toEqual(["scatters"]);
  const prose = 'One\n\n"Two * three," she said. 1. Not a list';
  await show(prose);
  await expect(shown.locator("*")).toHaveCount(0);
  expect(await shown.textContent()).toBe(prose);
});
