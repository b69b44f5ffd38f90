// One lane's answer as another predicts it, token by token: what both would have said, and how far apart they are.
import type { Compared } from "./engine";

export interface Agreement {
  tokens: readonly Token[];
  /** Tokens at which both hold the same likeliest. */
  agreed: number;
  /** Nats a token. */
  meanKl: number;
  /** The first token at which they do not; null where they always do. */
  first: number | null;
}

export interface Token {
  /** As it stands in the answer. */
  text: string;
  /** What the lane that answered holds likeliest, and the other. */
  expected: string;
  found: string;
  agrees: boolean;
  kl: number;
  /** The same three, by number: the answer's, what the one holds likeliest, and the other. */
  ids: readonly [number, number, number];
}

/** What a lane would have said of its own answer, were it to end earlier. */
export interface Depths {
  tokens: readonly Token[];
  /** What it holds likeliest in the end, token by token. */
  said: readonly string[];
  /** By depth, from its first layer on, without the last. */
  rows: readonly (readonly Compared[])[];
}

export function depthsOf(rows: readonly (readonly Compared[])[], answer: string): Depths {
  const { tokens } = agreement(rows.at(-1) ?? [], answer);
  return { tokens, said: tokens.map(({ expected }) => expected), rows };
}

export function agreement(compared: readonly Compared[], answer: string): Agreement {
  const texts = textsOf(compared, answer);
  const tokens = compared.map(({ token, expected, found, agrees, kl }, at): Token => ({
    text: texts[at] ?? "",
    expected: expected.text,
    found: found.text,
    agrees,
    kl,
    ids: [token, expected.id, found.id],
  }));
  const first = tokens.findIndex(({ agrees }) => !agrees);
  return {
    tokens,
    agreed: tokens.filter(({ agrees }) => agrees).length,
    // The mean of nothing is nothing.
    meanKl: tokens.reduce((sum, { kl }) => sum + kl, 0) / Math.max(1, tokens.length),
    first: first === -1 ? null : first,
  };
}

/** The answer's text, token by token. A token is known by its text where either lane holds it likeliest, which is everywhere but
 * where chance drew another; what lies between two that are known belongs to those between. */
function textsOf(compared: readonly Compared[], answer: string): string[] {
  const known = new Map<number, string>();
  for (const { expected, found } of compared) {
    known.set(expected.id, expected.text);
    known.set(found.id, found.text);
  }
  const texts: string[] = [];
  let at = 0;
  let waiting = 0;
  for (const { token } of compared) {
    const text = known.get(token);
    if (text === undefined) {
      waiting += 1;
      continue;
    }
    const found = answer.indexOf(text, at);
    // An end token stands in no answer; what is far off is another of the same text.
    const isHere = text !== "" && found !== -1 && (waiting > 0 || found - at <= 1);
    if (!isHere) {
      texts.push(...spread("", waiting), text);
    } else {
      // A space before the first word may be in the token and not in the answer, or the other way round.
      const gap = answer.slice(at, found);
      texts.push(...(waiting > 0 ? [...spread(gap, waiting), text] : [gap + text]));
      at = found + text.length;
    }
    waiting = 0;
  }
  return [...texts, ...spread(answer.slice(at), waiting)];
}

/** A text over so many tokens of unknown texts: the first has it. */
function spread(text: string, tokens: number): string[] {
  return Array.from({ length: tokens }, (_, at) => (at === 0 ? text : ""));
}

/** By token: after how many layers its word is decided, which is where the likeliest is the final one and stays so. `depths` from
 * the first layer on, without the last. */
export function decidedAfter(depths: readonly (readonly Compared[])[]): number[] {
  const count = depths[0]?.length ?? 0;
  return Array.from({ length: count }, (_, token) => {
    const last = depths.findLastIndex((rows) => rows[token]?.agrees !== true);
    return last + 2;
  });
}

/** How loud a mark is: 0 for none, up to 4. */
export function loudness(kl: number): 0 | 1 | 2 | 3 | 4 {
  if (kl < 0.02) return 0;
  if (kl < 0.1) return 1;
  if (kl < 0.5) return 2;
  return kl < 2 ? 3 : 4;
}
