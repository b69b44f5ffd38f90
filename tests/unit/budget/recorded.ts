// What `halfdepth budget --json` printed for each line of cases.txt, as crates/cli/tests/budget.rs recorded it.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readConfig } from "../../../www/budget/config";
import { modelNamed, type Shape } from "../../../www/budget/shapes";

interface PrintedBudget {
  depth: { attentions: number; mlps: number };
  parameters: number;
  weight_bytes: number;
  bits_per_weight: number;
  flops_per_token: number;
  cache_bytes_per_position: number;
  cache_bytes: number;
  read_bytes_per_token: number;
  memory_bytes: number;
  bound_tokens_per_second: number;
}

export interface Recorded {
  arguments: string;
  name: string;
  config: Record<string, unknown>;
  context: number;
  parameters: Record<string, number>;
  bytes_per_second: number;
  storage: string;
  budget: { full: PrintedBudget; half: PrintedBudget };
  /** Name, then bytes of weights and bytes read a token, full and half. */
  storages: [string, number, number, number, number][];
  /** Name, GiB, bytes a second, whether full and half fit, the most tokens a second. */
  cards: [string, number, number, boolean, boolean, number, number][];
  article: { claimed_full: number; claimed_half: number; full: number; half: number }[] | null;
}

const text = (path: string) =>
  readFileSync(fileURLToPath(new URL(`../../../${path}`, import.meta.url)), "utf8");

export const RECORDED = text("tests/unit/budget/recorded.jsonl")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Recorded);

export const CASES = text("tests/unit/budget/cases.txt").trim().split("\n");

/** As the page has the model: by its name, or from its config.json. */
export function shapeOf({ arguments: words, name }: Recorded): Shape {
  const [path = ""] = words.split(" ");
  if (!path.endsWith(".json")) {
    const model = modelNamed(name);
    if (model === null) throw new Error(`the page does not know ${name}`);
    return model.shape;
  }
  const read = readConfig(text(path));
  if ("wrong" in read) throw new Error(read.wrong);
  return read.shape;
}

/** The sizes in the configuration that was printed. */
export function printedShape({ config }: Recorded): Record<keyof Shape, unknown> {
  return {
    layers: config.layers,
    hiddenSize: config.hidden_size,
    intermediateSize: config.intermediate_size,
    heads: config.heads,
    kvHeads: config.kv_heads,
    headDim: config.head_dim,
    vocabSize: config.vocab_size,
    context: config.context,
    tiedHead: config.tied_head,
  };
}
