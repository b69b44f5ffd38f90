// "Scan my text" is held to the command line: `halfdepth scan` and `halfdepth eval` on the same text.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, type Page } from "@playwright/test";
import { strings } from "../../www/strings";
import { expectAccessible } from "./accessible";
import {
  ANSWERED_MS,
  answered,
  ask,
  button,
  expectNoSidewaysScroll,
  idle,
  limit,
  LOADED_MS,
  open,
  test,
} from "./page";

test.describe.configure({ timeout: LOADED_MS + 12 * ANSWERED_MS });

const program = process.env.HALFDEPTH_BIN ?? "target/debug/halfdepth";
const MODEL = "models/halfdepth-stories-12L";
/** Any text will do that both can read; this one stays as it is. */
const TEXT = "LICENSE-APACHE";
const SAMPLES = 3;
const TOKENS = 48;
const WINDOWS = 1;
// Other sums of the same products: f16 dot products where the device has them, f32 everywhere else.
const TOLERANCE = 1e-3;

const words = strings.map;
let folder = "";
test.beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "halfdepth-map-"));
});
test.afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function run(...parts: string[]): string {
  return execFileSync(program, [...parts, "--device", "cpu"], { encoding: "utf8" });
}

interface Scanned {
  distance: Record<string, number[]>;
  best_start: Record<string, number>;
}

function scanned(seed: number): Scanned {
  const output = join(folder, "scan.json");
  const how = ["--samples", String(SAMPLES), "--tokens", String(TOKENS), "--sampling", "random"];
  run("scan", MODEL, "--text", TEXT, ...how, "--seed", String(seed), "--output", output);
  return JSON.parse(readFileSync(output, "utf8")) as Scanned;
}

/** Nats a token without some layers. */
function evaluated(dropped: readonly number[]): number {
  const how = ["--tasks", "loss", "--limit", String(WINDOWS), "--json", "--fresh"];
  const plan = dropped.length === 0 ? [] : ["--drop", dropped.join(",")];
  const state = ["--state", join(folder, "eval")];
  const report = JSON.parse(run("eval", MODEL, "--text", TEXT, ...how, ...plan, ...state)) as {
    tasks: { figures: { cross_entropy: { value: number } } }[];
  };
  return report.tasks[0]?.figures.cross_entropy.value ?? NaN;
}

async function set(page: Page, label: string, value: number): Promise<void> {
  const field = page.locator("hd-map").getByLabel(label, { exact: true });
  await field.fill(String(value));
  await field.blur();
}

async function scan(page: Page, seed: number): Promise<void> {
  await button(page, words.open).click();
  const map = page.locator("hd-map");
  await map.getByLabel(words.file).setInputFiles(TEXT);
  await expect(
    map.getByText(words.fileRead(TEXT, readFileSync(TEXT, "utf8").length)),
  ).toBeVisible();
  await set(page, words.fields.samples, SAMPLES);
  await set(page, words.fields.tokens, TOKENS);
  await set(page, words.fields.seed, seed);
  await button(map, words.start).click();
  await expect(button(map, words.curveStart)).toBeVisible({ timeout: ANSWERED_MS });
  await idle(page);
}

test("the map and the curve are those of the command line; the best block is left out at a click", async ({
  page,
}) => {
  await open(page, "?plans=full,half");
  await scan(page, 7);
  const map = page.locator("hd-map");
  const expected = scanned(7);
  await map.locator("hd-heat-map summary").click();
  const rows = map.locator("hd-heat-map tbody tr");
  await expect(rows).toHaveCount(12);
  let furthest = 0;
  for (let n = 1; n <= 12; n += 1) {
    const cells = rows.nth(n - 1).locator("td");
    const found = await cells.evaluateAll((all) =>
      all.map((cell) => Number((cell as HTMLElement).dataset.distance)),
    );
    const row = expected.distance[n] ?? [];
    expect(found).toHaveLength(row.length);
    for (const [first, distance] of row.entries()) {
      furthest = Math.max(furthest, Math.abs((found[first] ?? NaN) - distance));
    }
  }
  console.log(`the map differs from the command line's by ${furthest.toExponential(1)} at most`);
  expect(furthest).toBeLessThan(TOLERANCE);
  for (const [n, first] of Object.entries(expected.best_start)) {
    const block = map.locator(".blocks tbody tr").nth(Number(n) - 1);
    await expect(block.locator("td").first()).toHaveText(words.block(first, Number(n)));
  }

  await set(page, words.fields.windows, WINDOWS);
  await button(map, words.curveStart).click();
  await expect(map.getByText(/^Measured on/)).toBeVisible({ timeout: 6 * ANSWERED_MS });
  await idle(page);
  await map.locator("hd-curve summary").click();
  const losses = (strategy: string) =>
    map
      .locator(`hd-curve td[data-strategy=${strategy}]`)
      .evaluateAll((all) => all.map((cell) => Number((cell as HTMLElement).dataset.loss)));
  const [simple, similarity] = [await losses("simple"), await losses("similarity")];
  expect([simple.length, similarity.length]).toEqual([12, 12]);
  let worst = 0;
  for (let dropped = 0; dropped < 12; dropped += 1) {
    const block = (first: number) => Array.from({ length: dropped }, (_, at) => first + at);
    const best = expected.best_start[dropped] ?? 0;
    const [bySimple, bySimilarity] = [evaluated(block(11 - dropped)), evaluated(block(best))];
    worst = Math.max(worst, Math.abs((simple[dropped] ?? NaN) - bySimple));
    worst = Math.max(worst, Math.abs((similarity[dropped] ?? NaN) - bySimilarity));
  }
  console.log(
    `the curve differs from the command line's by ${worst.toExponential(1)} nats at most`,
  );
  expect(worst).toBeLessThan(TOLERANCE);

  await expectAccessible(page, "scanned and measured, with the numbers");

  // The best block of four layers goes, and the next answer runs without it. The first lane is as it was.
  const first = expected.best_start[4] ?? 0;
  await map.getByRole("button", { name: words.applyLabel(first, 4) }).click();
  await limit(page, 4);
  await ask(page);
  const [full, half] = (await answered(page)).lanes;
  expect(full?.layers).toHaveLength(12);
  expect(half?.layers).toEqual(
    Array.from({ length: 12 }, (_, layer) => layer).filter(
      (layer) => layer < first || layer >= first + 4,
    ),
  );
});

test("what cannot be scanned is said, and a scan can be stopped", async ({ page }) => {
  await open(page);
  await button(page, words.open).click();
  const map = page.locator("hd-map");
  const alert = map.getByRole("alert");
  await map.getByLabel(words.text, { exact: true }).fill("Too short.");
  await button(map, words.start).click();
  await expect(alert).toContainText("too few for a sample of 64");
  await set(page, words.fields.samples, 0);
  await button(map, words.start).click();
  await expect(alert).toContainText(words.fields.samples);
  await map
    .getByLabel(words.file)
    .setInputFiles({ name: "a.txt", mimeType: "text/plain", buffer: Buffer.from([0xff, 0xfe, 0]) });
  await expect(alert).toHaveText(words.noText("a.txt"));

  await set(page, words.fields.samples, 64);
  await map.getByLabel(words.file).setInputFiles(TEXT);
  await button(map, words.start).click();
  await button(map, strings.ask.stop).click();
  await expect(map.getByText(words.stopped)).toBeVisible({ timeout: ANSWERED_MS });
  await idle(page);
  for (const width of [320, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    await expectNoSidewaysScroll(page);
  }
});
