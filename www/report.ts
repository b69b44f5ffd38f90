// What a program reads of a comparison: on the page, the last exchange in an element that shows nothing; saved, with all that
// leads to it.
import type { Adapter, LaneStats, Memory } from "./engine";
import type { Measured } from "./measure";
import type { Session } from "./session";
import type { Settings } from "./settings";
import { compare, type Answer, type Exchange } from "./turns";

export interface Report {
  adapter: Adapter;
  pack: { name: string };
  question: string | null;
  /** Lane by lane, whoever answered first. */
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
  /** Of these, layers whose attention, or whose MLP, adds nothing. */
  muteAttention: readonly number[];
  muteMlp: readonly number[];
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
    lanes: (exchange?.answers ?? []).map(laneReport),
    order: exchange?.order ?? [],
    together: exchange?.together ?? false,
    decodeRatio: comparison?.kind === "ratio" ? comparison.ratio : null,
    memory: session.memory,
    userAgent,
  };
}

/** What is saved. Readers check the format and the version; fields are added without a new version. */
export interface SavedReport extends Report {
  format: "halfdepth-comparison";
  version: 1;
  savedAt: string;
  /** Asks the same again; null where the question is too long for a link. */
  link: string | null;
  pack: { name: string; source: string; layers: number; parameters: number; manifest: string };
  settings: Settings;
  /** Medians and spreads, where it was measured again and again. */
  measured: Measured | null;
  /** What was said before, from the first question on. */
  before: { question: string; seed: number; settings: Settings; lanes: LaneReport[] }[];
}

/** `exchanges` from the first to the one that is reported. */
export function savedReport(
  session: Session,
  exchanges: readonly Exchange[],
  about: {
    userAgent: string;
    savedAt: Date;
    link: string | null;
    manifest: string;
    measured: Measured | null;
  },
): SavedReport | null {
  const last = exchanges.at(-1);
  if (last === undefined) return null;
  const { name, source, layers, parameters } = session.opened.pack;
  return {
    format: "halfdepth-comparison",
    version: 1,
    savedAt: about.savedAt.toISOString(),
    link: about.link,
    ...report(session, last, about.userAgent),
    pack: { name, source, layers, parameters, manifest: about.manifest },
    settings: asked(last),
    measured: about.measured,
    before: exchanges.slice(0, -1).map((exchange) => ({
      question: exchange.question,
      seed: exchange.seed,
      settings: asked(exchange),
      lanes: exchange.answers.map(laneReport),
    })),
  };
}

/** The settings with the seed that was really used. */
function asked({ settings, seed }: Exchange): Settings {
  return { ...settings, sampling: { ...settings.sampling, seed } };
}

function laneReport({ plan, text, tokens, finish, error, stats }: Answer): LaneReport {
  return {
    plan: plan.name,
    layers: plan.layers,
    muteAttention: plan.change?.muteAttention ?? [],
    muteMlp: plan.change?.muteMlp ?? [],
    text,
    tokens,
    finish,
    error: error && `${error.name}: ${error.message}`,
    stats,
  };
}
