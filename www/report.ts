// What a program reads off the page: the last exchange and its measurements, as JSON in an element that shows nothing.
import type { Adapter, LaneStats, Memory } from "./engine";
import type { Session } from "./session";
import { compare, type Exchange } from "./turns";

export interface Report {
  adapter: Adapter;
  pack: { name: string };
  question: string | null;
  /** The full model's lane first, whoever answered first. */
  lanes: LaneReport[];
  /** Lanes by number, in the order in which they answered. */
  order: readonly number[];
  together: boolean;
  /** Decode speed of the second lane over that of the first; null when there is no fair one. */
  decodeRatio: number | null;
  memory: Memory;
  userAgent: string;
}

interface LaneReport {
  plan: string;
  /** The original layers that run. */
  layers: readonly number[];
  text: string;
  tokens: readonly number[];
  finish: string | null;
  error: string | null;
  stats: LaneStats | null;
}

export function report(
  session: Session,
  exchange: Exchange | undefined,
  userAgent: string,
): Report {
  const comparison = exchange === undefined ? null : compare(exchange);
  return {
    adapter: session.opened.adapter,
    pack: { name: session.opened.pack.name },
    question: exchange?.question ?? null,
    lanes: (exchange?.answers ?? []).map(({ plan, text, tokens, finish, error, stats }) => ({
      plan: plan.name,
      layers: plan.layers,
      text,
      tokens,
      finish,
      error: error && `${error.name}: ${error.message}`,
      stats,
    })),
    order: exchange?.order ?? [],
    together: exchange?.together ?? false,
    decodeRatio: comparison?.kind === "ratio" ? comparison.ratio : null,
    memory: session.memory,
    userAgent,
  };
}
