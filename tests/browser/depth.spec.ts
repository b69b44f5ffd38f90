// The strip as a control: what it changes is what the next answer runs, and nothing is left of it once it is taken back.
import { expect, type Locator, type Page } from "@playwright/test";
import { strings } from "../../www/strings";
import { expectAccessible } from "./accessible";
import {
  ANSWERED_MS,
  answered,
  ask,
  button,
  idle,
  limit,
  LOADED_MS,
  open,
  test,
  scoredIds,
} from "./page";

test.describe.configure({ timeout: 2 * LOADED_MS + 6 * ANSWERED_MS });

const words = strings.depth;

function head(page: Page, lane: 0 | 1): Locator {
  return page.locator(`hd-lane-head[data-lane="${lane}"]`);
}

function layer(page: Page, lane: 0 | 1, at: number): Locator {
  return head(page, lane).locator("hd-strip button").nth(at);
}

/** Asks the same again, and gives what the second lane says and runs. */
async function again(page: Page) {
  await button(page, strings.ask.regenerate).click();
  const [, half] = (await answered(page)).lanes;
  if (half === undefined) throw new Error("no second lane");
  return half;
}

test("a muted layer changes the next answer; unmuted, it is the plain answer again", async ({
  page,
}) => {
  await open(page, "?plans=full,half");
  await limit(page, 16);
  await ask(page);
  const [full, plain] = (await answered(page)).lanes;
  const [first = 0] = plain?.layers ?? [];

  await layer(page, 1, first).click();
  const editor = head(page, 1).locator("hd-depth");
  await editor.getByLabel(words.states["no-mlp"]).check();
  await expect(head(page, 1).getByRole("heading")).toHaveText(
    strings.lane.changed(strings.lane.part(6, 12)),
  );
  // What was measured of the plan is not said of what became of it.
  await expect(head(page, 1).locator("option:checked")).not.toContainText("loss");
  await expectAccessible(page, "a layer open, and muted");
  const muted = await again(page);
  expect(muted).toMatchObject({ plan: "half", layers: plain?.layers, muteMlp: [first] });
  expect(muted.tokens).not.toEqual(plain?.tokens);

  await editor.getByLabel(words.states.out).check();
  const shorter = await again(page);
  expect(shorter.layers).toEqual(plain?.layers.filter((other) => other !== first));
  expect(shorter.tokens).not.toEqual(plain?.tokens);
  expect(shorter.tokens).not.toEqual(muted.tokens);

  await editor.getByRole("button", { name: words.reset }).click();
  await expect(head(page, 1).getByRole("heading")).toHaveText(strings.lane.part(6, 12));
  const back = await again(page);
  expect(back.tokens).toEqual(plain?.tokens);

  // As deep as the whole model, it says what the whole model says, token for token.
  await editor.getByLabel(words.keep, { exact: true }).fill("12");
  const deep = await again(page);
  expect(deep.layers).toHaveLength(12);
  expect(deep.tokens).toEqual(full?.tokens);

  // A third lane says what the same plan said as the second.
  await page.getByLabel(strings.lane.plan(1)).selectOption("best-half");
  expect((await again(page)).plan).toBe("best-half");
  await page.getByLabel(strings.look.thirdLabel).selectOption("half");
  await button(page, strings.look.third).click();
  const third = page.locator("hd-answer[data-lane='2']");
  await expect(third).toHaveAttribute("data-state", "done", { timeout: ANSWERED_MS });
  await expect(third.locator(".words")).toHaveText(plain?.text ?? "");
});

test("layers are changed by keyboard alone, and the link carries them to somebody else", async ({
  page,
  browser,
}) => {
  await open(page, "?plans=full,half");
  await limit(page, 12);
  const strip = head(page, 1).getByRole("toolbar", { name: words.strip(1) });
  await strip.locator("button[tabindex='0']").focus();
  await page.keyboard.press("End");
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("Enter");
  await expect(layer(page, 1, 10)).toHaveAttribute("aria-expanded", "true");
  const editor = head(page, 1).locator("hd-depth");
  const out = editor.getByLabel(words.states.out);
  await expect(out).toBeChecked();
  await out.focus();
  await page.keyboard.press("ArrowLeft");
  await expect(layer(page, 1, 10)).toHaveAccessibleName(words.layerState(10, "no-mlp"));
  await editor.getByLabel(words.keep, { exact: true }).focus();
  await page.keyboard.press("ArrowLeft");
  await expect(editor.locator(".kept")).toHaveText(words.kept(6, 12));
  await layer(page, 1, 0).click();
  await editor.getByLabel(words.states["no-attention"]).check();

  await ask(page, "Hello!");
  const made = await answered(page);
  const [, half] = made.lanes;
  expect(half).toMatchObject({ layers: [0, 1, 2, 3, 4, 11], muteAttention: [0] });
  await button(page, strings.share.link).click();
  const address = await page.getByLabel(strings.share.linkShown).inputValue();
  expect(address).toContain("plans=full,half:0-4.11:a0");

  // It is kept, too.
  await page.reload();
  await expect(page.locator("hd-answer[data-lane='1'] h3")).toHaveText(
    strings.lane.changed(strings.lane.part(6, 12)),
  );

  const context = await browser.newContext();
  try {
    const other = await context.newPage();
    await other.goto(address);
    await expect(other.locator("[data-same]")).toHaveAttribute("data-same", "true", {
      timeout: LOADED_MS + 2 * ANSWERED_MS,
    });
    await expect(layer(other, 1, 0)).toHaveAccessibleName(words.layerState(0, "no-attention"));
    await idle(other);

    // What the model does not have is not run, and it is said.
    await other.goto(address.replace("0-4.11:a0", "0-99"));
    await expect(other.getByText(strings.link.unfit(["half"]))).toBeVisible({ timeout: LOADED_MS });
  } finally {
    await context.close();
  }
});

test("the full answer is scored by the second lane, as a count by hand has it", async ({
  page,
}) => {
  await open(page, "?plans=full,half");
  await limit(page, 24);
  await ask(page);
  const [full, half] = (await answered(page)).lanes;
  await button(page, strings.look.score(true)).click();
  const verdict = page.locator("hd-look [data-agreed]");
  await expect(verdict).toBeVisible({ timeout: ANSWERED_MS });
  await idle(page);
  const tokens = page.locator("hd-look .tokens button");
  await expect(tokens).toHaveCount(full?.tokens.length ?? 0);
  const said = (await tokens.allTextContents()).join("").replaceAll("⏎", "\n").replaceAll("␣", " ");
  expect(said.trim()).toContain(full?.text.trim() ?? "");

  // By hand, from the ids: the full model's own likeliest are its answer, and the half model's are counted.
  const ids = await scoredIds(page);
  expect(ids.map(([token]) => token)).toEqual(full?.tokens);
  expect(ids.map(([, expected]) => expected)).toEqual(full?.tokens);
  const agreed = ids.filter(([token, , found]) => token === found).length;
  expect(await verdict.getAttribute("data-agreed")).toBe(String(agreed));
  expect(agreed).toBeLessThan(ids.length);
  // Where the half model's own answer parts from the full one's, and up to there, it is what it said itself.
  const parts = half?.tokens.findIndex((token, at) => token !== full?.tokens[at]) ?? -1;
  expect(ids.slice(0, parts + 1).map(([, , found]) => found)).toEqual(
    half?.tokens.slice(0, parts + 1),
  );
  await expect(verdict).toContainText(`token ${parts + 1}:`);
  expect(Number(await verdict.getAttribute("data-kl"))).toBeGreaterThan(0);

  // At its whole depth the lens says what was said; by arrows from token to token.
  await button(page, strings.look.depths).click();
  const rows = page.locator("hd-look table tbody tr");
  await expect(rows).toHaveCount(13, { timeout: 12 * ANSWERED_MS });
  await tokens.first().click();
  await page.keyboard.press("ArrowRight");
  await expect(tokens.nth(1)).toHaveAttribute("aria-pressed", "true");
  await idle(page);
  await expectLens(rows, (await tokens.nth(1).textContent()) ?? "");

  await expectAccessible(page, "scored, and read at every depth");

  // What was looked up left nothing behind.
  const after = await again(page);
  expect(after.tokens.length).toBeGreaterThan(0);
});

/** Before the first layer the word is nowhere; at the end it is what was said, no token is likelier, and nothing is left to say. */
async function expectLens(rows: Locator, said: string): Promise<void> {
  const cells = await rows.evaluateAll((all) =>
    all.map((row) => [...row.querySelectorAll("td")].map(({ textContent }) => textContent)),
  );
  const read = cells.map(([says = "", probability = "", rank = "", kl = ""]) => ({
    ...{ says, probability: parseFloat(probability) },
    ...{ rank: Number(rank.replaceAll(/\D/g, "")), kl: Number(kl) },
  }));
  const [first, last] = [read[0], read.at(-1)];
  expect(last).toMatchObject({ says: said, rank: 1, kl: 0 });
  expect(last?.probability).toBeGreaterThan(first?.probability ?? Infinity);
  expect(first?.rank).toBeGreaterThan(1);
  for (const { says, rank } of read) expect(says === said).toBe(rank === 1);
}
