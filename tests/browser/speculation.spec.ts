// Half as a draft, in the browser: the drafted answer is the plain one, token for token, and what is shown of it can be counted.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "@playwright/test";
import type * as EngineModule from "../../www/engine";
import { strings } from "../../www/strings";
import { expectAccessible } from "./accessible";
import {
  answer,
  answered,
  ANSWERED_MS,
  ask,
  button,
  limit,
  open,
  phase,
  scoredIds,
  test,
} from "./page";

const TOKENS = 48;
const PROMPTS = [
  "Once upon a time",
  "Tell me a story about Lily and a dog.",
  "The cat was sad because",
];
/** Where the best two tokens lie closer than this, a pass of eight rows, which sums in another order, may pick the other one. */
const NEAR_TIE = 1e-3;

interface Case {
  plain: number[];
  drafted: number[];
  /** By token of the drafted answer: whether it was drafted. */
  flags: boolean[];
  /** What the half model holds likeliest at each token of the drafted answer. */
  guesses: number[];
  stats: EngineModule.SpeculationStats;
  /** How far the best two tokens lie apart where the answers part; null where they do not. */
  margin: number | null;
}

test("three answers of 48 tokens are the same with drafts and without, and the drafts are counted right", async ({
  page,
}) => {
  // The engine alone, beside the page: what the worker runs.
  await page.route("**/engine-alone/*", async (route) => {
    const name = new URL(route.request().url()).pathname.split("/").pop() ?? "";
    const file = fileURLToPath(new URL(`../../www/wasm/${name}`, import.meta.url));
    const contentType = name.endsWith(".js") ? "text/javascript" : "application/wasm";
    await route.fulfill({ body: readFileSync(file), contentType });
  });
  await open(page);
  const cases = await page.evaluate(run, { prompts: PROMPTS, tokens: TOKENS });
  let equal = 0;
  let nearTies = 0;
  for (const { plain, drafted, flags, guesses, stats, margin } of cases) {
    const differs = plain.findIndex((token, at) => token !== drafted[at]);
    equal += differs === -1 ? plain.length : differs;
    expect(drafted).toHaveLength(TOKENS);
    if (differs !== -1) {
      expect(margin, `token ${String(differs)}`).toBeLessThan(NEAR_TIE);
      nearTies += 1;
    }
    expect(flags.filter(Boolean)).toHaveLength(stats.accepted);
    expect(byHand(drafted, guesses)).toEqual({
      drafted: stats.drafted,
      accepted: stats.accepted,
      rounds: stats.rounds,
    });
  }
  const sum = (of: (stats: EngineModule.SpeculationStats) => number) =>
    cases.reduce((total, { stats }) => total + of(stats), 0);
  const [kept, made, rounds] = [
    sum((s) => s.accepted),
    sum((s) => s.drafted),
    sum((s) => s.rounds),
  ];
  console.log(
    `drafting: ${String(equal)} tokens equal, ${String(nearTies)} near-ties; ${String(kept)} of ${String(made)} drafts kept in ${String(rounds)} passes`,
  );
  expect(equal).toBeGreaterThan((PROMPTS.length * TOKENS) / 2);
});

test("the page shows whose words they were, and that nothing changed", async ({ page }) => {
  await open(page);
  await limit(page, TOKENS);
  await ask(page);
  const { lanes } = await answered(page);
  await button(page, strings.draft.start).click();
  const shown = page.locator("hd-draft section");
  await expect(shown).toHaveAttribute("data-draft", "done", { timeout: 300_000 });
  await phase(page, "idle").toHaveAttribute("data-phase", "idle");
  const tokens = String(lanes[0]?.tokens.length);
  await expect(shown.locator("[data-alike]")).toHaveAttribute("data-alike", tokens);
  await expect(shown.locator("[data-alike]")).toHaveText(
    strings.draft.same({ alike: Number(tokens), of: Number(tokens) }),
  );
  const text = (await shown.locator(".words").textContent()) ?? "";
  expect(text).toBe(lanes[0]?.text);
  const figure = shown.locator("[data-accepted]");
  const accepted = Number(await figure.getAttribute("data-accepted"));
  const marked = await shown.locator("mark").allTextContents();
  expect(marked.join("").length > 0).toBe(accepted > 0);
  await expect(answer(page, 0)).toBeVisible();
  await expectAccessible(page, "drafted");

  // The count that is shown, against one made by hand from the ids; up to where drafting was given up, if it was.
  const count = async (name: string) => Number(await figure.getAttribute(`data-${name}`));
  const counts = { drafted: await count("drafted"), accepted, rounds: await count("rounds") };
  await button(page, strings.look.score(true)).click();
  const scored = page.locator("hd-look [role=toolbar] button");
  await expect(scored).toHaveCount(Number(tokens), { timeout: ANSWERED_MS });
  const ids = await scoredIds(page);
  const [said, guesses] = [ids.map(([token = -1]) => token), ids.map(([, , found = -1]) => found)];
  expect(said).toEqual(lanes[0]?.tokens);
  const gaveUp = (await shown.getByText(strings.draft.givenUp).count()) > 0;
  expect(byHand(said, guesses, gaveUp ? counts.rounds : Infinity)).toEqual(counts);
  await expect(figure).toContainText(strings.draft.kept(accepted, counts.drafted, counts.rounds));
});

/** Counted from the ids alone: a round drafts four tokens at first, two more (up to seven) after one in which all were right, and else
 * one fewer, but one more than were right at least. */
function byHand(answer: readonly number[], guesses: readonly number[], most = Infinity) {
  const counts = { drafted: 0, accepted: 0, rounds: 0 };
  let wanted = 4;
  for (let at = 1; at < answer.length && counts.rounds < most;) {
    const drafts = Math.min(wanted, answer.length - at - 1);
    let right = 0;
    while (right < drafts && answer[at + right] === guesses[at + right]) right += 1;
    counts.drafted += drafts;
    counts.accepted += right;
    counts.rounds += 1;
    wanted = right === drafts ? Math.min(wanted + 2, 7) : Math.max(wanted - 1, right + 1);
    at += right + 1;
  }
  return counts;
}

/** Runs in the page. */
async function run({ prompts, tokens }: { prompts: string[]; tokens: number }): Promise<Case[]> {
  const address = new URL("./engine-alone/halfdepth_wasm.js", document.baseURI).href;
  const module = (await import(/* @vite-ignore */ address)) as typeof EngineModule;
  await module.default();
  const manifest = await fetchBytes("./models/halfdepth-stories-12L/manifest.json");
  const engine = await module.Engine.open(manifest);
  for (const { file } of engine.pack().files) {
    engine.loadChunk(file, 0, await fetchBytes(`./models/halfdepth-stories-12L/${file}`));
  }
  const [full, half] = [await engine.addLane("full"), await engine.addLane("best-half")];
  const cases: Case[] = [];
  for (const prompt of prompts) {
    // Token 1 begins every text of this model.
    const ids = [1, ...engine.tokenize(prompt)];
    const plain = await answerOf(ids, null);
    const drafted = await answerOf(ids, half);
    if (drafted.stats === null) throw new Error("nothing was drafted");
    const rows = await engine.compare(full, half, { ids }, Uint32Array.from(drafted.tokens));
    const differs = plain.tokens.findIndex((token, at) => token !== drafted.tokens[at]);
    let margin: number | null = null;
    if (differs !== -1) {
      // The likelihoods of the best two, at the last depth, after what both answers begin with.
      const before = Uint32Array.from(plain.tokens.slice(0, differs));
      const depths = await engine.lens(full, { ids }, before, 2);
      const [first, second] = depths.at(-1)?.top ?? [];
      margin = Math.log((first?.probability ?? 1) / (second?.probability ?? 0));
    }
    cases.push({
      plain: plain.tokens,
      drafted: drafted.tokens,
      flags: drafted.flags,
      guesses: rows.map(({ found }) => found.id),
      stats: drafted.stats,
      margin,
    });
  }
  engine.free();
  return cases;

  async function fetchBytes(path: string): Promise<Uint8Array> {
    return new Uint8Array(await (await fetch(path)).arrayBuffer());
  }

  async function answerOf(ids: number[], drafter: number | null) {
    const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 1 };
    await engine.startTurn(full, {
      ids,
      sampling,
      maxTokens: tokens,
      stop: [],
      ignoreEnd: true,
      ...(drafter === null ? {} : { draft: { lane: drafter, always: true } }),
    });
    const made: number[] = [];
    const flags: boolean[] = [];
    for (;;) {
      const step = await engine.step(full);
      made.push(...step.tokens);
      flags.push(...step.drafted);
      const stats = step.stats.speculation ?? null;
      if (step.finish !== null) return { tokens: made, flags, stats };
    }
  }
}
