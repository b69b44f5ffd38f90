// The page as a visitor meets it, in a real browser with the real engine, served at HALFDEPTH_URL.
import { expect } from "@playwright/test";
import { ROUNDS } from "../../www/measure";
import type { Report } from "../../www/report";
import { strings } from "../../www/strings";
import {
  ANSWERED_MS,
  answer,
  answered,
  ask,
  button,
  expectAlert,
  expectNoSidewaysScroll,
  limit,
  LOADED_MS,
  open,
  phase,
  report,
  set,
  test,
} from "./page";

test.describe.configure({ timeout: LOADED_MS + 3 * ANSWERED_MS });

test("a question gets two answers, their measurements and a comparison", async ({ page }) => {
  await open(page);
  await limit(page, 24);
  await ask(page);
  const { adapter, pack, lanes, memory, userAgent, decodeRatio } = await answered(page);

  expect(pack.name).not.toBe("");
  expect(userAgent).toContain("Chrom");
  expect(adapter).toHaveProperty("fallback");
  expect(memory.weightBytes).toBeGreaterThan(0);
  expect(memory.laneBytes).toHaveLength(2);
  expect(lanes).toHaveLength(2);
  const [full, half] = lanes;
  expect(full?.layers.length).toBeGreaterThan(half?.layers.length ?? Infinity);
  for (const [index, lane] of lanes.entries()) {
    expect(lane.error).toBeNull();
    expect(lane.text).not.toBe("");
    expect(lane.stats?.generatedTokens).toBe(lane.tokens.length);
    expect(lane.stats?.timeToFirstTokenMs).toBeGreaterThan(0);
    expect(lane.stats?.prefillTokensPerSecond).toBeGreaterThan(0);
    expect(lane.stats?.decodeTokensPerSecond).toBeGreaterThan(0);
    await expect(answer(page, index === 0 ? 0 : 1)).toContainText(lane.text.trim().slice(0, 20));
    await expect(answer(page, index === 0 ? 0 : 1)).toContainText(strings.stats.firstToken);
  }
  expect(decodeRatio).toBeGreaterThan(0);
  await expect(page.locator("[data-comparison=ratio]")).toContainText("as fast here");
  await expect(page.locator("hd-lane-head").first()).toContainText("shared weights");
});

test("the replay shows both at once, says what it is, and ends", async ({ page }) => {
  await open(page);
  await limit(page, 16);
  await ask(page);
  const { lanes } = await answered(page);
  await button(page, strings.replay.start).click();
  await expect(page.getByText(strings.replay.label)).toBeVisible();
  await button(page, strings.replay.skip).click();
  await expect(page.getByText(strings.replay.label)).toBeHidden();
  await button(page, strings.replay.start).click();
  // To its end by itself.
  await expect(button(page, strings.replay.start)).toBeVisible({ timeout: ANSWERED_MS });
  await expect(answer(page, 0)).toContainText(lanes[0]?.text.trim() ?? "");
});

test("lanes take turns in going first, keep their history, and can be started anew", async ({
  page,
}) => {
  await open(page);
  await limit(page, 8);
  await ask(page);
  const first = await answered(page);
  await ask(page, "And then?");
  const second = await answered(page);
  expect(first.order).toEqual([0, 1]);
  expect(second.order).toEqual([1, 0]);
  await expect(page.locator("hd-exchange")).toHaveCount(2);
  const prompts = ({ lanes }: Report) => lanes.map(({ stats }) => stats?.promptTokens ?? 0);
  for (const [lane, tokens] of prompts(second).entries()) {
    expect(tokens).toBeGreaterThan(prompts(first)[lane] ?? Infinity);
  }

  await button(page, strings.ask.newConversation).click();
  await expect(page.locator("hd-exchange")).toHaveCount(0);
  await ask(page);
  const anew = await answered(page);
  expect(prompts(anew)).toEqual(prompts(first));
  expect(anew.lanes.map(({ text }) => text)).toEqual(first.lanes.map(({ text }) => text));
});

test("regenerating greedily repeats the answer; with chance, the seed decides", async ({
  page,
}) => {
  await open(page);
  await limit(page, 16);
  await ask(page);
  const first = await answered(page);
  await button(page, strings.ask.regenerate).click();
  const again = await answered(page);
  await expect(page.locator("hd-exchange")).toHaveCount(1);
  expect(again.order).toEqual([1, 0]);
  expect(again.lanes.map(({ tokens }) => tokens)).toEqual(first.lanes.map(({ tokens }) => tokens));

  await set(page, strings.settings.labels.temperature, "2");
  await button(page, strings.ask.regenerate).click();
  const third = await answered(page);
  expect(third.lanes.map(({ tokens }) => tokens)).not.toEqual(
    first.lanes.map(({ tokens }) => tokens),
  );
});

test("stop ends the answer, keeps its text, and the next question works", async ({ page }) => {
  await open(page);
  await limit(page, 300);
  await ask(page);
  await expect(answer(page, 0)).toContainText(strings.stats.firstToken, { timeout: ANSWERED_MS });
  await button(page, strings.ask.stop).click();
  const { lanes } = await answered(page);
  expect(lanes[1]?.finish).toBe("stopped");
  expect(lanes[0]?.text).not.toBe("");
  await limit(page, 8);
  await ask(page, "Hello!");
  const next = await answered(page);
  expect(next.lanes.map(({ finish }) => finish)).not.toContain("stopped");
});

test("the second lane can run another half", async ({ page }) => {
  await open(page);
  const choice = page.getByLabel(strings.lane.plan(1));
  const now = await choice.inputValue();
  const names = await choice
    .locator("option")
    .evaluateAll((options) => options.map((option) => (option as HTMLOptionElement).value));
  const other = names.find((name) => name !== now && name !== "full");
  if (other === undefined) throw new Error("the pack has one half plan only");
  const weights = (await report(page)).memory.weightBytes;
  await choice.selectOption(other);
  await limit(page, 8);
  await ask(page);
  const { lanes, memory } = await answered(page);
  expect(lanes[1]?.plan).toBe(other);
  // A third lane over the same weights.
  expect(memory.laneBytes).toHaveLength(3);
  expect(memory.weightBytes).toBe(weights);
});

test("a context that overflows is told", async ({ page }) => {
  await open(page);
  await limit(page, 8);
  await ask(page, "dog ".repeat(3000));
  const { lanes } = await answered(page);
  expect(lanes.map(({ error }) => error?.split(":")[0])).toEqual(["ContextFull", "ContextFull"]);
  await expect(answer(page, 0).locator(".error")).not.toBeEmpty();
  await button(page, strings.ask.newConversation).click();
  await ask(page, "Hello!");
  expect((await answered(page)).lanes.map(({ error }) => error)).toEqual([null, null]);
});

test("an answer is text: markup stays what it is", async ({ page }) => {
  await open(page);
  await limit(page, 4);
  const markup = "<img src=x onerror=alert(1)><b>bold</b>";
  await ask(page, markup);
  await answered(page);
  await expect(page.locator("hd-exchange .question")).toContainText(markup);
  await expect(page.locator("hd-exchange img")).toHaveCount(0);
});

test("a second visit takes the files from the browser's store", async ({ page }) => {
  await open(page);
  const fetched: string[] = [];
  page.on("request", (request) => {
    if (/\/[0-9a-f]{64}\.\w+$/.test(request.url())) fetched.push(request.url());
  });
  await page.reload();
  await phase(page, "idle").toHaveAttribute("data-phase", "idle", { timeout: LOADED_MS });
  expect(fetched).toEqual([]);
});

test("loading can be cancelled and taken up again", async ({ page }) => {
  // Files wait until they are let go, so that there is time to cancel.
  let letGo: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => (letGo = resolve));
  await page.context().route(/\.bin$/, async (route) => {
    await gate;
    await route.continue().catch(() => undefined);
  });
  await page.goto("./");
  await expect(page.getByRole("progressbar", { name: strings.loading.progressLabel })).toBeVisible({
    timeout: LOADED_MS,
  });
  await expect(page.locator("hd-status")).toContainText("files");
  await button(page, strings.loading.cancel).click();
  await expect(page.getByText(strings.loading.cancelledTitle)).toBeVisible();
  await phase(page, "cancelled").toHaveAttribute("data-phase", "cancelled");
  letGo();
  await button(page, strings.loading.load).click();
  await phase(page, "idle").toHaveAttribute("data-phase", "idle", { timeout: LOADED_MS });
});

test("without WebGPU the page says what is missing and which browsers have it", async ({
  page,
}) => {
  await page.addInitScript(() => {
    Reflect.deleteProperty(Navigator.prototype, "gpu");
  });
  await page.goto("./");
  const alert = await expectAlert(page, strings.errors.titles.WebGpuUnavailable);
  for (const browser of strings.errors.webgpuBrowsers) await expect(alert).toContainText(browser);
  await expect(button(page, strings.ask.send)).toBeDisabled();
});

for (const [what, model, title] of [
  ["nothing there", "./no-such-pack/", strings.errors.titles.DownloadError],
  ["no manifest", "./index.html?.json", strings.errors.titles.DownloadError],
  ["a file scheme", "file:///etc/passwd", strings.errors.titles.InvalidAddress],
  ["a script", "javascript:alert(1)", strings.errors.titles.InvalidAddress],
  ["a data address", "data:application/json,{}", strings.errors.titles.InvalidAddress],
] as const) {
  test(`?model= with ${what} is told, and leads back to the built-in model`, async ({ page }) => {
    await page.goto(`./?model=${encodeURIComponent(model)}`);
    const alert = await expectAlert(page, title);
    await alert.getByRole("link", { name: strings.errors.openDefault }).click();
    await phase(page, "idle").toHaveAttribute("data-phase", "idle", { timeout: LOADED_MS });
  });
}

test("a broken manifest is told in the engine's words", async ({ page }) => {
  await page
    .context()
    .route("**/broken/manifest.json", (route) =>
      route.fulfill({ json: { format: "halfdepth-pack", version: 999 } }),
    );
  await page.goto("./?model=./broken/");
  await expectAlert(page, strings.errors.titles.PackError);
  await expect(button(page, strings.errors.retry)).toBeVisible();
});

test("a damaged file is told and, once repaired, loads", async ({ page }) => {
  let damaged = true;
  await page.context().route(/\.bin$/, async (route) => {
    const response = await route.fetch();
    const body = await response.body();
    if (damaged) body[body.length - 1] = (body.at(-1) ?? 0) ^ 1;
    await route.fulfill({ response, body });
  });
  await page.goto("./");
  await expectAlert(page, strings.errors.titles.PackError);
  damaged = false;
  await button(page, strings.errors.retry).click();
  await phase(page, "idle").toHaveAttribute("data-phase", "idle", { timeout: LOADED_MS });
});

for (const colorScheme of ["light", "dark"] as const) {
  test.describe(`360 px wide, ${colorScheme}`, () => {
    test.use({ viewport: { width: 360, height: 740 }, colorScheme, reducedMotion: "reduce" });

    test("nothing scrolls sideways, before, with settings open, and after an answer", async ({
      page,
    }) => {
      await page.goto("./");
      await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
      await expectNoSidewaysScroll(page);
      await phase(page, "idle").toHaveAttribute("data-phase", "idle", { timeout: LOADED_MS });
      await expectNoSidewaysScroll(page);
      await button(page, strings.settings.title).click();
      await expectNoSidewaysScroll(page);
      await limit(page, 8);
      await ask(page, "supercalifragilistic".repeat(8));
      await answered(page);
      await expectNoSidewaysScroll(page);
      await button(page, strings.replay.start).click();
      await expectNoSidewaysScroll(page);
    });
  });
}

test("everything can be done with the keyboard alone", async ({ page }) => {
  await open(page);
  await limit(page, 8);
  await page.getByLabel(strings.ask.label).focus();
  await page.keyboard.type("Hello!");
  await page.keyboard.press("Enter");
  await answered(page);
  // The box keeps the focus, so that the next question needs no pointer.
  await expect(page.getByLabel(strings.ask.label)).toBeFocused();
  // Backwards from the box: what can be looked up, what can be taken away, the draft, the measurement, the replay.
  const buttons = [
    ...[strings.look.depths, strings.look.score(true)],
    ...[strings.share.report, strings.share.picture, strings.share.link],
    ...[strings.draft.start, strings.measure.start(ROUNDS), strings.replay.start],
  ].map((name) => button(page, name));
  const third = [button(page, strings.look.third), page.getByLabel(strings.look.thirdLabel)];
  for (const control of [...third, ...buttons]) {
    await page.keyboard.press("Shift+Tab");
    await expect(control).toBeFocused();
  }
  await page.keyboard.press("Enter");
  await expect(page.getByText(strings.replay.label)).toBeVisible();
});

test("answers are announced by sentence, in a polite log", async ({ page }) => {
  await open(page);
  await limit(page, 24);
  await ask(page);
  const { lanes } = await answered(page);
  const log = page.getByRole("log");
  await expect(log).toHaveAttribute("aria-live", "polite");
  const spoken = await log.locator("p").allTextContents();
  expect(spoken.length).toBeGreaterThan(0);
  const words = (text: string) => text.replaceAll(/\s+/g, "");
  for (const { text } of lanes) expect(words(spoken.join(""))).toContain(words(text));
});
