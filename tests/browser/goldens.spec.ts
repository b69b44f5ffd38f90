// The browser is held to what the CPU backend picked from the same packs, token for token, at full and at half depth:
// `cargo test --test quantised` leaves packs and picks. Where the best two logits all but tie, either may win.
import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, test, type Page } from "@playwright/test";
import type { Report } from "../../www/report";
import { strings } from "../../www/strings";
import { idle } from "./page";

const folder = `${process.env.HALFDEPTH_TEST_FILES ?? "target/tmp"}/browser-goldens`;
const program = process.env.HALFDEPTH_BIN ?? "target/debug/halfdepth";
const TOKENS = 64;

interface Golden {
  nearTie: number;
  endTokens: number[];
  cases: { plan: string; prompt: string; ids: number[]; margins: number[] }[];
}

const PACKS = ["stories260K", "TinyStories-656K", "halfdepth-stories-12L", "healed", "shipped"];

for (const pack of PACKS) {
  test(`${pack}: the browser picks what the CPU backend picks`, async ({ page }) => {
    const golden = JSON.parse(readFileSync(`${folder}/${pack}/golden.json`, "utf8")) as Golden;
    const served = pack === "shipped" ? undefined : await serve(`${folder}/${pack}`);
    try {
      await page.goto(served === undefined ? "./" : `./?model=${encodeURIComponent(served.url)}`);
      await idle(page);
      await setLongest(page);
      if (pack === "healed") {
        // It is what the second lane runs unless another is asked for.
        const head = page.locator("hd-lane-head[data-lane='1']");
        await expect(head.getByRole("heading")).toHaveText(
          strings.lane.healed(strings.lane.part(6, 12)),
        );
        const choices = page.getByLabel(strings.lane.plan(0)).locator("option");
        await expect(choices).toHaveCount(3);
      }
      let compared = 0;
      let nearTies = 0;
      for (const prompt of new Set(golden.cases.map((each) => each.prompt))) {
        const { lanes } = await ask(page, prompt);
        expect(lanes.length).toBe(2);
        for (const { plan, tokens } of lanes) {
          const expected = golden.cases.find(
            (each) => each.plan === plan && each.prompt === prompt,
          );
          if (expected === undefined) throw new Error(`no reference for ${plan}`);
          const parted = firstDifference(tokens, expected.ids, golden.endTokens);
          compared += parted ?? tokens.length;
          if (parted === null) continue;
          const about = `${plan}, ${prompt}, step ${String(parted)}`;
          expect(expected.margins[parted], about).toBeLessThan(golden.nearTie);
          nearTies += 1;
        }
        await page.getByRole("button", { name: strings.ask.newConversation, exact: true }).click();
        await idle(page);
      }
      console.log(`${pack}: ${String(compared)} tokens equal, ${String(nearTies)} near-ties`);
      expect(nearTies * 100).toBeLessThanOrEqual(compared);
    } finally {
      served?.process.kill();
    }
  });
}

test("either lane runs any plan of the pack: the unhealed half beside the healed one", async ({
  page,
}) => {
  const golden = JSON.parse(readFileSync(`${folder}/healed/golden.json`, "utf8")) as Golden;
  const served = await serve(`${folder}/healed`);
  try {
    await page.goto(`./?model=${encodeURIComponent(served.url)}`);
    await idle(page);
    await setLongest(page);
    await page.getByLabel(strings.lane.plan(0)).selectOption("half");
    const [first] = golden.cases;
    if (first === undefined) throw new Error("no prompt");
    const { lanes, memory } = await ask(page, first.prompt);
    expect(lanes.map(({ plan }) => plan)).toEqual(["half", "healed"]);
    for (const { plan, tokens } of lanes) {
      const expected = golden.cases.find(
        (each) => each.plan === plan && each.prompt === first.prompt,
      );
      if (expected === undefined) throw new Error(`no reference for ${plan}`);
      const parted = firstDifference(tokens, expected.ids, golden.endTokens);
      if (parted !== null) expect(expected.margins[parted]).toBeLessThan(golden.nearTie);
    }
    // Full, healed and half: three lanes over one set of weights.
    expect(memory.laneBytes).toHaveLength(3);
  } finally {
    served.process.kill();
  }
});

/** The first step at which the two part; an answer may end where the reference picks an end token. */
function firstDifference(
  tokens: readonly number[],
  ids: readonly number[],
  ends: readonly number[],
): number | null {
  for (const [step, id] of ids.entries()) {
    if (step === tokens.length) return ends.includes(id) ? null : step;
    if (tokens[step] !== id) return step;
  }
  return null;
}

async function setLongest(page: Page): Promise<void> {
  const settings = page.getByRole("button", { name: strings.settings.title, exact: true });
  await settings.click();
  const longest = page.getByLabel(strings.settings.labels.maxTokens, { exact: true });
  await longest.fill(String(TOKENS));
  await longest.blur();
  await settings.click();
}

async function ask(page: Page, prompt: string): Promise<Report> {
  await page.getByLabel(strings.ask.label).fill(prompt);
  await page.keyboard.press("Enter");
  const answers = page.locator("hd-exchange").last().locator("hd-answer[data-state=done]");
  await expect(answers).toHaveCount(2, { timeout: 300_000 });
  await idle(page);
  return JSON.parse((await page.locator("#report").textContent()) ?? "null") as Report;
}

/** Serves a pack from another origin, as `?model=` is meant to be used. */
async function serve(pack: string): Promise<{ url: string; process: ChildProcess }> {
  const child = spawn(program, ["serve", pack, "--listen", "127.0.0.1:0"]);
  const url = await new Promise<string>((resolve, reject) => {
    let out = "";
    child.on("error", reject);
    child.on("exit", (code) => {
      reject(new Error(`halfdepth serve ended with ${String(code)}`));
    });
    child.stdout.on("data", (data: Buffer) => {
      out += data.toString();
      const found = /\?model=(\S+)/.exec(out);
      if (found?.[1] !== undefined) resolve(found[1]);
    });
  });
  return { url, process: child };
}
