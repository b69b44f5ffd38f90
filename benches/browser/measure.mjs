// What is measured, in which order. In: started engines. Out: medians. Those that are compared take turns, so that what
// slows the machine slows all of them.
import { stderr } from "node:process";

/** Our own engine: each plan at each context and for each prompt. */
export async function measureOurs(engine, { plans, contexts, prompts, tokens, runs }) {
  const { pack } = engine.loaded;
  const random = ids(pack.vocabSize);
  const bytesOf = (plan, context) => bytesPerToken(pack, plan, context + tokens / 2);
  const bandwidth = await engine.ask(600_000, "readBandwidth", bytesOf(plans[0], 0).weights);
  const decode = [];
  for (const context of contexts) {
    // The same prompt every time: after the first, the cache holds it and only decoding is repeated.
    const prompt = random(context);
    const samples = await inTurn(plans, runs, async (plan) => {
      const run = await engine.run({ plan, ids: prompt, newTokens: tokens });
      return { ...run, counted: await engine.lastTurn() };
    });
    for (const plan of plans) decode.push(decodeRow(plan, context, samples.get(plan), bytesOf));
  }
  const prefill = [];
  for (const length of prompts) {
    const samples = await inTurn(plans, runs, async (plan) => {
      const run = await engine.run({ plan, ids: random(length), newTokens: 1 });
      // A first token may be drawn twice; more than that would mean that the cache was not empty.
      if (run.reusedTokens > 1) throw new Error("the cache held a part of a prompt to be read");
      return run;
    });
    for (const plan of plans) prefill.push({ plan, ...prefillRow(length, samples.get(plan)) });
  }
  for (const row of decode) {
    row.shareOfBandwidth = (row.tokensPerSecond * row.bytesPerToken) / bandwidth.bytesPerSecond;
    const first = decode.find(({ plan, context }) => plan === plans[0] && context === row.context);
    if (row === first) continue;
    row.speedUp = row.tokensPerSecond / first.tokensPerSecond;
    row.shareOfPredictedSpeedUp = row.speedUp / (first.bytesPerToken / row.bytesPerToken);
  }
  return { bandwidth, decode, prefill };
}

/**
 * Several engines side by side, ours first: prompts of each length, then decoding after the first of them. Before each, all load
 * anew: some keep gigabytes more after every prompt.
 */
export async function compare(engines, { prompts, tokens, runs }) {
  const random = ids(engines[0].loaded.pack.vocabSize);
  const rows = engines.map(({ name }) => ({ name, prefill: [] }));
  const row = (engine) => rows.find(({ name }) => name === engine.name);
  for (const length of prompts) {
    const samples = await inTurn(engines, runs, (engine) =>
      engine.run({ plan: "full", ids: random(length), newTokens: 1 }),
    );
    for (const engine of engines) {
      row(engine).prefill.push(prefillRow(length, samples.get(engine)));
      await engine.visit();
    }
  }
  const samples = await inTurn(engines, runs, async (engine) => {
    const before = await engine.counts();
    const run = await engine.run({ plan: "full", ids: random(prompts[0]), newTokens: tokens });
    const after = await engine.counts();
    // The prompt's calls are among them.
    return { ...run, launches: after.launches - before.launches };
  });
  for (const engine of engines) {
    const of = samples.get(engine);
    row(engine).decodeTokensPerSecond = median(of.map(speed));
    row(engine).launchesPerToken = median(of.map(({ launches }) => launches / tokens));
  }
  return rows;
}

/** A first round that is thrown away, then `runs` rounds, in each of which everyone has a turn. */
async function inTurn(those, runs, measure) {
  const samples = new Map(those.map((one) => [one, []]));
  for (let run = 0; run <= runs; run++) {
    for (const one of those) {
      const sample = await measure(one);
      stderr.write(`${one.name ?? one}, run ${run}: ${JSON.stringify(sample)}\n`);
      if (run > 0) samples.get(one).push(sample);
    }
  }
  return samples;
}

function decodeRow(plan, context, samples, bytesOf) {
  const counted = (name) =>
    median(samples.map(({ counted }) => (counted === null ? NaN : counted[name] / counted.tokens)));
  const { weights, cache } = bytesOf(plan, context);
  return {
    plan,
    context,
    tokensPerSecond: median(samples.map(speed)),
    bytesPerToken: weights + cache,
    cpuMsPerToken: median(samples.map(({ cpuMs, passes }) => cpuMs / passes)),
    launchesPerToken: counted("launches"),
    submitsPerToken: counted("submits"),
    readbacksPerToken: counted("readbacks"),
  };
}

function prefillRow(length, samples) {
  const firstTokenMs = median(samples.map(({ firstTokenMs }) => firstTokenMs));
  return { prompt: length, firstTokenMs, tokensPerSecond: (length * 1000) / firstTokenMs };
}

/** Weights that one token reads (layers, norms, head), and keys and values of all positions so far. */
function bytesPerToken(pack, name, positions) {
  const { layers, weightBytesPerToken } = pack.plans.find((plan) => plan.name === name);
  const cache = layers.length * pack.cacheBytesPerPosition * positions;
  return { weights: weightBytesPerToken, cache };
}

const speed = ({ passes, decodeMs }) => (passes * 1000) / decodeMs;

function median(values) {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** Draws token ids that mean nothing; the same ones in every run of the bench. */
function ids(vocabSize) {
  let state = 1;
  return (length) =>
    Array.from({ length }, () => {
      // Park and Miller's generator: its products stay below 2^53.
      state = (state * 48_271) % 2_147_483_647;
      return state % vocabSize;
    });
}
