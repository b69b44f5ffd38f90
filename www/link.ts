// A comparison as an address, and back. What it is asked with stands in the fragment, which browsers keep from servers: no
// question leaves the machine of whoever opens it. Read as hostile input: what is not understood in full is refused.
import { readChange, writeChange } from "./change";
import type { PlanChange } from "./engine";
import { DEFAULT_SETTINGS, readNumber, type NumberField, type Settings } from "./settings";
import { strings } from "./strings";
import type { Answer, Exchange } from "./turns";

/** The fragment's first key; a fragment without it is none of ours. */
const VERSION_KEY = "ask";
const VERSION = "1";

/** Mail and chat programs cut longer addresses off. */
const WRITTEN_MAX = 2000;
/** Far beyond what is written, far below what would slow the page. */
const READ_MAX = 8000;
const QUESTIONS_MAX = 16;
const PLANS_MAX = 3;
const STOP_MAX = 8;

const NUMBER_KEYS = {
  t: "temperature",
  k: "topK",
  p: "topP",
  min: "minP",
  rep: "repetitionPenalty",
  max: "maxTokens",
} as const satisfies Record<string, NumberField>;

/** All that makes two answers what they are, besides the model and the device. */
export interface Shared {
  /** Names of the lanes' plans; fewer where the pack's defaults will do. */
  plans: readonly string[];
  /** What is changed of each of these plans; null where it runs as the pack has it. */
  changes: Changes;
  /** From the first to the last; each has its seed. */
  questions: readonly { text: string; seed: number }[];
  settings: Settings;
  /** Of the last question's answers, lane by lane; empty when they were cut short. */
  fingerprints: readonly string[];
}

/** As the plans they belong to. */
export type Changes = readonly (PlanChange | null)[];

export type Read =
  | { kind: "none" }
  | { kind: "plans"; plans: readonly string[]; changes: Changes }
  | { kind: "shared"; shared: Shared }
  | { kind: "invalid"; why: string };

export interface Link {
  address: string;
  /** False where it begins with the last question: what came before is too long, or could not be repeated. */
  whole: boolean;
}

/** The address at which `exchanges`, the last of them above all, are asked again; null where even one question is too long.
 * `page` is the page's own address: its ?model= is kept. */
export function link(page: string, exchanges: readonly Exchange[]): Link | null {
  const last = exchanges.at(-1);
  if (last === undefined) return null;
  // What would not be read need not be written.
  const isReadable = (address: string) => read(address).kind === "shared";
  const all = repeatable(exchanges) ? write(page, exchanges, last) : "";
  if (all.length <= WRITTEN_MAX && isReadable(all)) return { address: all, whole: true };
  const one = write(page, [last], last);
  return isReadable(one) ? { address: one, whole: exchanges.length === 1 } : null;
}

/** Whether asking the questions again, all with the last one's settings, gives the conversation that was. */
function repeatable(exchanges: readonly Exchange[]): boolean {
  const last = exchanges.at(-1);
  const kept = (exchange: Exchange) =>
    JSON.stringify([plansOf(exchange), common(exchange.settings)]);
  const complete = ({ finish }: Answer) => finish !== "stopped" && finish !== "failed";
  return (
    last !== undefined &&
    exchanges.length <= QUESTIONS_MAX &&
    exchanges.every((exchange) => kept(exchange) === kept(last)) &&
    exchanges.slice(0, -1).every(({ answers }) => answers.every(complete))
  );
}

/** Settings without what may differ from question to question and still be repeated. */
function common({ sampling, ...rest }: Settings): unknown {
  return { ...rest, sampling: { ...sampling, seed: 0 } };
}

/** As they stand in the address: a comma within a name is escaped, and so is a colon. */
function plansOf({ answers }: Exchange): string[] {
  return answers.map(({ plan: { name, change } }) => {
    const escaped = encodeURIComponent(name);
    return change === undefined ? escaped : `${escaped}:${writeChange(change)}`;
  });
}

function write(page: string, exchanges: readonly Exchange[], last: Exchange): string {
  const url = new URL(page);
  const model = url.searchParams.get("model");
  url.search = "";
  if (model !== null) url.searchParams.set("model", model);
  url.search += `${url.search === "" ? "?" : "&"}plans=${plansOf(last).join(",")}`;

  const { settings } = last;
  const fields = new URLSearchParams([[VERSION_KEY, VERSION]]);
  for (const { question } of exchanges) fields.append("q", question);
  const seeds = exchanges.map(({ seed }) => seed);
  const isOne = seeds.every((seed) => seed === seeds[0]);
  if (!isOne || seeds[0] !== DEFAULT_SETTINGS.sampling.seed) {
    fields.set("seed", isOne ? String(seeds[0]) : seeds.join("."));
  }
  for (const [key, field] of Object.entries(NUMBER_KEYS)) {
    const value = numberOf(settings, field);
    if (value !== numberOf(DEFAULT_SETTINGS, field)) fields.set(key, String(value));
  }
  if (settings.system !== "") fields.set("system", settings.system);
  for (const stop of settings.stop) fields.append("stop", stop);
  if (settings.sharedHistory) fields.set("shared", "1");
  if (settings.together) fields.set("together", "1");
  const complete = last.answers.every(({ finish }) => finish !== "stopped" && finish !== "failed");
  if (complete) fields.set("same", last.answers.map(({ text }) => fingerprint(text)).join("."));
  url.hash = fields.toString();
  return url.href;
}

/** What the page's own address asks for. */
export function read(page: string): Read {
  if (!URL.canParse(page)) return { kind: "none" };
  const url = new URL(page);
  const asked = readPlans(url.search);
  if (asked === null) return invalid(strings.link.plans);
  const hash = url.hash.slice(1);
  if (hash.length > READ_MAX) return invalid(strings.link.tooLong);
  const fields = new URLSearchParams(hash);
  const version = fields.get(VERSION_KEY);
  if (version === null)
    return asked.plans.length === 0 ? { kind: "none" } : { kind: "plans", ...asked };
  if (version !== VERSION) return invalid(strings.link.version(printable(version)));
  try {
    return { kind: "shared", shared: { ...asked, ...readFields(fields) } };
  } catch (thrown) {
    if (thrown instanceof Damaged) return invalid(thrown.message);
    throw thrown;
  }
}

class Damaged extends Error {}

function readFields(fields: URLSearchParams): Omit<Shared, keyof AskedPlans> {
  const single = (key: string): string | undefined => {
    const [value, ...more] = fields.getAll(key);
    if (more.length > 0) throw new Damaged(strings.link.twice(key));
    return value;
  };
  const number = (key: string, field: NumberField, text: string): number => {
    const value = readNumber(field, text);
    if (typeof value !== "number") throw new Damaged(strings.link.field(key, value.wrong));
    return value;
  };
  const flag = (key: string): boolean => {
    const value = single(key);
    if (value !== undefined && value !== "1") throw new Damaged(strings.link.field(key, "1"));
    return value === "1";
  };

  const texts = fields.getAll("q").map((text) => text.trim());
  if (texts.length === 0 || texts.length > QUESTIONS_MAX || texts.includes("")) {
    throw new Damaged(strings.link.questions(QUESTIONS_MAX));
  }
  const seeds = (single("seed") ?? String(DEFAULT_SETTINGS.sampling.seed))
    .split(".")
    .map((text) => number("seed", "seed", text));
  if (seeds.length !== 1 && seeds.length !== texts.length) throw new Damaged(strings.link.seeds);
  const seedOf = (index: number) => seeds[index] ?? seeds[0] ?? 0;

  const { sampling } = DEFAULT_SETTINGS;
  const numbers = { ...sampling, maxTokens: DEFAULT_SETTINGS.maxTokens };
  for (const [key, field] of Object.entries(NUMBER_KEYS)) {
    const text = single(key);
    if (text !== undefined) numbers[field] = number(key, field, text);
  }
  const { maxTokens, ...rest } = numbers;
  const stop = fields.getAll("stop");
  if (stop.length > STOP_MAX || stop.includes("")) throw new Damaged(strings.link.stop(STOP_MAX));
  const same = single("same");
  if (same !== undefined && !/^[0-9a-f]{8}(\.[0-9a-f]{8}){1,2}$/.test(same)) {
    throw new Damaged(strings.link.fingerprint);
  }
  return {
    questions: texts.map((text, index) => ({ text, seed: seedOf(index) })),
    settings: {
      system: single("system") ?? "",
      sampling: { ...rest, seed: seedOf(texts.length - 1) },
      maxTokens,
      stop,
      sharedHistory: flag("shared"),
      together: flag("together"),
    },
    fingerprints: same?.split(".") ?? [],
  };
}

type AskedPlans = Pick<Shared, "plans" | "changes">;

function readPlans(search: string): AskedPlans | null {
  // Read before its escapes are undone, so that a name may hold a comma or a colon.
  const given = search
    .slice(1)
    .split("&")
    .filter((pair) => pair.startsWith("plans="))
    .map((pair) => pair.slice("plans=".length));
  const [text, ...more] = given;
  if (text === undefined || text === "") return { plans: [], changes: [] };
  try {
    const each = text.split(",").map((plan) => /^([^:]*)(?::(.*))?$/s.exec(plan) ?? []);
    const plans = each.map(([, name = ""]) => decodeURIComponent(name.replaceAll("+", " ")));
    const changes = each.map(([, , change]) => {
      const found = change === undefined ? null : readChange(change);
      if (change !== undefined && found === null) throw new Damaged("");
      return found;
    });
    // As long as the pack's own names may be.
    const fits = plans.every((name) => name !== "" && name.length <= 64);
    // Two lanes may run the one plan of a pack; a third would have nothing of its own.
    const isNew = plans[2] === undefined || plans.indexOf(plans[2]) === 2;
    const isRead = more.length === 0 && plans.length <= PLANS_MAX && fits && isNew;
    return isRead ? { plans, changes } : null;
  } catch {
    return null; // a broken escape, or no layers
  }
}

/** 32 bits of FNV-1a over UTF-8: enough to tell one answer from another, and no secret. */
export function fingerprint(text: string): string {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) {
    hash = Math.imul(hash ^ byte, 0x01000193);
  }
  return (hash >>> 0).toString(16).padStart(8, "0");
}

function numberOf({ maxTokens, sampling }: Settings, field: NumberField): number {
  return field === "maxTokens" ? maxTokens : sampling[field];
}

function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, "?").slice(0, 16);
}

function invalid(why: string): Read {
  return { kind: "invalid", why };
}
