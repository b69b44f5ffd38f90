// The second lane drafts for the first: the same answer once more, word for word, by fewer passes of the first. In: an exchange.
// Out: its text in pieces, drafted or not, and what it came to.
import type { RunPlan } from "./change";
import type { SpeculationStats, TurnRequest } from "./engine";
import type { TurnEvent } from "./protocol";
import type { Answer } from "./turns";

/** Text that came at once; its tokens may have been drafted or not. */
export interface DraftPiece {
  text: string;
  /** Tokens of it. */
  tokens: number;
  /** Of these, tokens that the second lane drafted. They come first: the first lane's own pick ends a pass. */
  drafted: number;
}

export interface Drafted {
  kind: "running" | "done" | "stopped";
  pieces: DraftPiece[];
  tokens: number[];
  speculation: SpeculationStats | null;
}

export type Draft = Drafted | { kind: "failed"; why: string };

/** Whoever lets one plan draft for another. */
export interface Drafter {
  drafted(
    plan: RunPlan,
    draft: RunPlan,
    request: TurnRequest,
    signal: AbortSignal,
  ): AsyncIterable<TurnEvent>;
}

/** Adds what arrived. */
export function takeDraft(drafted: Drafted, event: TurnEvent): void {
  if (event.kind === "started") return;
  const { text, tokens, drafted: flags, stats } = event.step;
  if (text !== "" || tokens.length > 0) {
    const kept = flags.filter(Boolean).length;
    drafted.pieces.push({ text, tokens: tokens.length, drafted: kept });
  }
  drafted.tokens.push(...tokens);
  drafted.speculation = stats.speculation ?? null;
}

/** Of a piece, the text that was drafted and the rest: a piece is whole characters, so where it holds tokens of both kinds it is cut
 * in proportion, at the start of a word if one is near. */
export function cut({ text, tokens, drafted }: DraftPiece): [string, string] {
  if (drafted === 0 || tokens === 0) return ["", text];
  if (drafted >= tokens) return [text, ""];
  const about = Math.round((text.length * drafted) / tokens);
  const space = text.lastIndexOf(" ");
  // The rest is one token, mostly a word with the space before it.
  const at = tokens - drafted === 1 && space > 0 ? space : about;
  return [text.slice(0, at), text.slice(at)];
}

export interface Gain {
  /** Without drafts over with: above 1 it pays. */
  speedUp: number | null;
  acceptance: number | null;
}

export function gain({ drafted, accepted, msPerToken, plainMsPerToken }: SpeculationStats): Gain {
  return {
    speedUp: msPerToken > 0 && plainMsPerToken > 0 ? plainMsPerToken / msPerToken : null,
    acceptance: drafted > 0 ? accepted / drafted : null,
  };
}

/** How many tokens of the plain answer the drafted one repeats, of those that both have. */
export function same(drafted: Drafted, answer: Answer): { alike: number; of: number } {
  const of = Math.min(drafted.tokens.length, answer.tokens.length);
  const differs = drafted.tokens.slice(0, of).findIndex((token, at) => token !== answer.tokens[at]);
  return { alike: differs === -1 ? of : differs, of };
}
