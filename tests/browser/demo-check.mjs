// Asks the page one question in headless Chromium. In: --url, --prompt, --max-tokens, --chromium.
// Out: one JSON object on stdout; what is going on, and what went wrong, on stderr.
import { parseArgs } from "node:util";
import { stdout, stderr, exit } from "node:process";
import { chromium } from "playwright-core";
import { chromiumFlags, countWebGpu, readLog, whileDecoding } from "./webgpu-counts.mjs";

// A software GPU compiles shaders for minutes and answers at a few tokens a second.
const loadingMs = 600_000;
const answeringMs = 900_000;

const { values: options } = parseArgs({
  options: {
    url: { type: "string" },
    prompt: { type: "string" },
    "max-tokens": { type: "string" },
    chromium: { type: "string" },
  },
});

const browser = await chromium.launch({
  executablePath: options.chromium,
  headless: true,
  args: chromiumFlags,
});
try {
  stdout.write(`${JSON.stringify(await check(browser))}\n`);
} catch (error) {
  stderr.write(`error: ${error.message}\n`);
  exit(1);
} finally {
  await browser.close();
}

async function check(browser) {
  // The counters reach the worker through a blob, which a strict content security policy would refuse.
  const context = await browser.newContext({ bypassCSP: true });
  await countWebGpu(context);
  const page = await context.newPage();
  page.on("console", (message) => {
    if (message.type() === "error") stderr.write(`page: ${message.text()}\n`);
  });
  page.on("pageerror", (error) => stderr.write(`page: ${error.message}\n`));

  stderr.write(`opening ${options.url}\n`);
  await page.goto(options.url);
  // The words are those of www/strings.ts.
  const send = page.getByRole("button", { name: "Ask both" });
  const question = page.getByRole("textbox", { name: "Your question, for every lane" });
  await until(page, "the model is loaded", loadingMs, async () => {
    if (!(await question.isEditable())) return false;
    await question.fill(options.prompt);
    return send.isEnabled();
  });

  const longest = page.getByLabel("Longest answer");
  if (!(await longest.isVisible())) await page.getByText("Settings", { exact: true }).click();
  await longest.fill(options["max-tokens"]);
  await longest.blur();

  stderr.write("asking\n");
  await send.click();
  await until(page, "both lanes have answered", answeringMs, async () => {
    const { turns } = await readLog(page);
    return turns.length === 2 && turns.every((turn) => turn.ended !== null);
  });
  const report = await until(page, "the page has written its report", 10_000, async () => {
    const written = JSON.parse((await page.locator("script#report").textContent()) || "null");
    return (
      written?.lanes?.length === 2 &&
      written.lanes.every((lane) => lane.stats || lane.error) &&
      written
    );
  });
  const failed = report.lanes.find((lane) => lane.error);
  if (failed) throw new Error(`the lane ${failed.plan} failed: ${failed.error}`);
  return merged(report, await readLog(page));
}

/** Asks `isDone` until it gives something; an error that the page shows ends the waiting with the page's words. */
async function until(page, what, limitMs, isDone) {
  const alert = page.getByRole("alert").filter({ hasText: /\S/ });
  const progress = page.getByRole("progressbar");
  const deadline = Date.now() + limitMs;
  let shown = "";
  for (;;) {
    // The page's parts come and go while it starts: what cannot be asked yet is asked again.
    const done = await isDone().catch(() => false);
    if (done) return done;
    const complaint = (await alert.allInnerTexts()).join(" ").trim();
    if (complaint !== "") throw new Error(`the page says: ${complaint}`);
    if (Date.now() > deadline) {
      const text = await page.locator("body").innerText();
      throw new Error(
        `after ${limitMs / 1000} s it is still not so that ${what}; the page shows:\n${text}`,
      );
    }
    const [value] = await progress.evaluateAll((bars) => bars.map((bar) => bar.value));
    const now = value === undefined ? what : `loading: ${value}`;
    if (now !== shown) stderr.write(`waiting: ${(shown = now)}\n`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** What the page measured, beside what was counted around it. */
function merged({ adapter, pack, lanes }, log) {
  const answers = lanes.map(({ plan, layers, text, stats }) => {
    const spent = whileDecoding(log.turns.find((turn) => turn.plan === plan));
    const perToken = (count) => (spent === null ? null : count / spent.tokens);
    return {
      plan,
      layers,
      text,
      prompt_tokens: stats.promptTokens,
      generated_tokens: stats.generatedTokens,
      time_to_first_token_ms: stats.timeToFirstTokenMs,
      prefill_tokens_per_second: stats.prefillTokensPerSecond,
      decode_tokens_per_second: stats.decodeTokensPerSecond,
      // Counted from outside, over the tokens after the first step's.
      counted_tokens: spent?.tokens ?? 0,
      launches_per_token: perToken(spent?.launches),
      submits_per_token: perToken(spent?.submits),
      readbacks_per_token: perToken(spent?.readbacks),
      queue_writes_per_token: perToken(spent?.queueWrites),
      buffers_created_while_decoding: spent?.buffers ?? null,
      bind_groups_created_while_decoding: spent?.bindGroups ?? null,
    };
  });
  const [first, second] = answers;
  const [alone, both] = log.lanes;
  return {
    adapter,
    model: pack.name,
    prompt: options.prompt,
    lanes: answers,
    // As the engine gave them after the first lane was made, and after both.
    weight_bytes_one_lane: alone.memory.weightBytes,
    weight_bytes_both_lanes: both.memory.weightBytes,
    lane_bytes: both.memory.laneBytes,
    // Counted from outside: what making the second lane asked of the GPU, which leaves no room for weights.
    buffer_bytes_created_for_second_lane: both.added.bufferBytes - both.asked.bufferBytes,
    decode_ratio: second.decode_tokens_per_second / first.decode_tokens_per_second,
  };
}
