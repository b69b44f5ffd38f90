// In: a GGUF file, a prompt, a number of tokens. Out: one JSON line of what llama.cpp (by way of node-llama-cpp) makes of them,
// greedily and past end tokens: { "prompt_ids": [...], "greedy_ids": [...] }.

import { getLlama } from "node-llama-cpp";

const [modelPath, prompt, count] = process.argv.slice(2);
const llama = await getLlama({ gpu: false, build: "never", logLevel: "error" });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ contextSize: 256, threads: 1 });
const promptIds = [model.tokens.bos, ...model.tokenize(prompt)];
const greedyIds = [];
for await (const token of context.getSequence().evaluate(promptIds, { temperature: 0, yieldEogToken: true })) {
  greedyIds.push(token);
  if (greedyIds.length === Number(count)) break;
}
console.log(JSON.stringify({ prompt_ids: promptIds, greedy_ids: greedyIds }));
process.exit(0);
