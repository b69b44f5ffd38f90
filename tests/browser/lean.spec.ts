// The decode loop as WebGPU sees it: few launches, at most one submit a token, few readbacks, no allocation.
import { expect, test, type Page } from "@playwright/test";
import { countWebGpu, readLog, whileDecoding, type CountedTurn } from "./webgpu-counts.mjs";

// Enough steps of several tokens for averages to settle: the prompt's own token, and whole batches after it.
const longestAnswer = 49;

test.use({ bypassCSP: true });

test.beforeEach(async ({ context }) => {
  await countWebGpu(context);
});

test("decoding is lean, and the second lane brings no weights", async ({ page }) => {
  await page.goto("./");
  // The second question: whatever the first use of a lane sets up has been set up.
  await ask(page, 1);
  await kernelsChosen(page);
  await ask(page, 2);
  const { lanes, turns } = await readLog(page);
  const report = (await page
    .locator("script#report")
    .evaluate((element) => JSON.parse(element.textContent) as unknown)) as {
    lanes: { plan: string; layers: number[] }[];
  };

  for (const { plan, layers } of report.lanes) {
    const spent = decoding(turns.filter((turn) => turn.plan === plan).at(-1));
    const about = `${plan}: ${JSON.stringify(spent)}`;
    expect(spent.launches / spent.tokens, about).toBeLessThanOrEqual(7 * layers.length + 4);
    expect(spent.submits / spent.tokens, about).toBeLessThanOrEqual(1);
    expect(spent.readbacks / spent.tokens, about).toBeLessThanOrEqual(1 / 8);
    expect(spent.queueWrites, about).toBe(0);
    expect(spent.buffers, about).toBe(0);
    expect(spent.pipelines, about).toBe(0);
  }

  const [alone, both] = lanes;
  if (alone === undefined || both === undefined)
    throw new Error("the page made fewer than two lanes");
  expect(both.memory.weightBytes).toBe(alone.memory.weightBytes);
  // What making it asked of the GPU, counted from outside; buffers are rounded up, so its own share may be exceeded.
  const created = both.added.bufferBytes - both.asked.bufferBytes;
  const ownBytes = both.memory.laneBytes[1] ?? 0;
  // The half's weights would be a third of its own bytes; rounding is less than a tenth.
  expect(created).toBeLessThan(ownBytes * 1.1);
});

/** While nobody asks, the worker tries kernels, which takes buffers. It keeps the choice once it has tried them all. */
async function kernelsChosen(page: Page): Promise<void> {
  const kept = async () => (await (await caches.open("halfdepth-kernels-1")).keys()).length;
  await expect.poll(() => page.evaluate(kept), { timeout: 600_000 }).toBe(1);
}

/** Asks question number `nth` and waits until both lanes have answered it. */
async function ask(page: Page, nth: number): Promise<void> {
  const send = page.getByRole("button", { name: "Ask both" });
  await expect(send).toBeEnabled({ timeout: 600_000 });
  const longest = page.getByLabel("Longest answer");
  if (!(await longest.isVisible())) await page.getByText("Settings", { exact: true }).click();
  await longest.fill(String(longestAnswer));
  await longest.blur();
  await page
    .getByRole("textbox", { name: "Your question, for every lane" })
    .fill("Tell me a story.");
  await send.click();
  await expect
    .poll(async () => (await readLog(page)).turns.filter((turn) => turn.ended !== null).length, {
      timeout: 600_000,
    })
    .toBe(2 * nth);
}

function decoding(turn: CountedTurn | undefined): NonNullable<ReturnType<typeof whileDecoding>> {
  const spent = turn === undefined ? null : whileDecoding(turn);
  if (spent === null) throw new Error("a lane answered in one step: nothing to count");
  return spent;
}
