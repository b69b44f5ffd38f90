// What the widget loads once it is clicked: the engine, two lanes of it, and what they say.
import { borrow } from "../library/engine";
import { looksLikeMarkdown } from "../looks";
import { parting, tellParting } from "../parting";
import { HalfdepthError, needsReload, type LoadStage, type Opened } from "../protocol";
import { Sentences } from "../sentences";
import { DEFAULT_SETTINGS } from "../settings";
import { strings } from "../strings";
import {
  choosePlans,
  compare,
  Conversation,
  type Answer,
  type Change,
  type Exchange,
  type Plans,
  type Talker,
} from "../turns";
import { onHidden } from "../visibility";
import type {
  AnswerDetail,
  DoneDetail,
  Lanes,
  LanesRequest,
  Question,
  Shown,
  ShownLane,
} from "./shown";
import { words } from "./words";

export async function open(request: LanesRequest): Promise<Lanes> {
  const { manifestUrl, signal, plans: asked } = request;
  const borrowed = await borrow(manifestUrl, {
    signal,
    onStage: (stage) => {
      tellStage(stage, request);
    },
    plans: (opened) => choose(opened, asked).map(({ name }) => name),
  });
  const { opened } = borrowed;
  const plans = choose(opened, asked);
  const { layers } = opened.pack;
  let lost = false;

  const voices = [new Sentences(), new Sentences()] as const;
  const conversation = new Conversation(follow, () => document.hidden);
  const unwatch = onHidden(() => {
    conversation.wasHidden();
  });

  function follow(change: Change): void {
    if (change.kind === "cleared") return;
    const { exchange } = change;
    request.onShown(shownOf(exchange, layers));
    if (change.kind === "began") {
      const title = strings.lane.of(change.answer.plan, layers);
      request.onSpoken([strings.speak.begins(title)]);
    } else if (change.kind === "text") {
      const { text } = change;
      const lane = shownLane(change);
      request.onSpoken(voices[lane].push(text));
      const { plan, tokens } = change.answer;
      const seen = counted[lane];
      counted[lane] = tokens.length;
      if (tokens.length === seen) return;
      request.onToken({ lane, plan: plan.name, text, tokens: tokens.slice(seen) });
    } else if (change.kind === "ended") {
      request.onSpoken(voices[shownLane(change)].finish());
      void showMarkdown(exchange, layers, request);
    } else if (change.kind === "settled") {
      const stopped = exchange.answers.some(({ finish }) => finish === "stopped");
      request.onSpoken([stopped ? strings.speak.stopped : strings.speak.done]);
    }
  }
  /** A post's lanes run the pack's plans as they are. */
  const talker: Talker = {
    turn: (plan, asked, signal) => borrowed.turn(plan.name, asked, signal),
  };
  /** Tokens of each lane that were told already. */
  const counted: [number, number] = [0, 0];

  return {
    loaded: {
      model: opened.pack.name,
      plans: [plans[0].name, plans[1].name],
      bytes: opened.bytes,
      storedBytes: opened.storedBytes,
    },
    get running() {
      return conversation.running;
    },
    get lost() {
      return lost;
    },
    async ask({ prompt, maxTokens, temperature, seed }: Question) {
      // One question, one pair of answers: who reads a post comes for that.
      conversation.clear();
      counted.fill(0);
      const sampling = { ...DEFAULT_SETTINGS.sampling, temperature, seed };
      await conversation.ask(prompt, plans, { ...DEFAULT_SETTINGS, sampling, maxTokens }, talker);
      const exchange = conversation.exchanges.at(-1);
      const error = exchange?.answers.map((answer) => answer.error).find((found) => found !== null);
      lost = error != null && needsReload(error.name);
      if (error != null) throw new HalfdepthError(error.name, error.message);
      return doneOf(exchange, prompt);
    },
    stop() {
      conversation.stop();
    },
    close() {
      conversation.stop();
      unwatch();
      borrowed.release();
    },
  };
}

function choose({ pack }: Opened, asked: readonly string[]): Plans {
  const chosen = choosePlans(pack.plans, asked);
  if (chosen === null) throw new HalfdepthError("PackError", strings.engine.noPlans);
  const [unknown] = chosen.unknown;
  if (unknown !== undefined) {
    const names = pack.plans.map(({ name }) => name);
    throw new HalfdepthError("InvalidRequest", strings.library.noPlan(unknown, names));
  }
  return [chosen.first, chosen.second];
}

/** A post has two lanes. */
function shownLane({ lane }: { lane: number }): 0 | 1 {
  return lane === 0 ? 0 : 1;
}

function tellStage(stage: LoadStage, { onProgress }: LanesRequest): void {
  if (stage.stage !== "files") {
    onProgress({ loaded: 0, total: 0 }, strings.loading[stage.stage]);
    return;
  }
  const { bytesDone, bytes, retrying } = stage.progress;
  const { loading } = strings;
  const said = bytesDone === bytes ? loading.lanesOnly : loading.bytes(bytesDone, bytes);
  onProgress({ loaded: bytesDone, total: bytes }, retrying ? loading.retrying : said);
}

function shownOf(exchange: Exchange, layers: number): Shown {
  const { answers, question } = exchange;
  const said = [answers[0].text, answers[1].text] as const;
  const comparison = compare(exchange);
  const found = parting(exchange, said);
  const verdict = [
    comparison === null ? null : strings.comparison(comparison),
    comparison === null || found === null
      ? null
      : // Named, not counted: nothing is underlined here.
        tellParting({ ...found, departed: 0 }, exchange, said, layers),
  ].filter((sentence) => sentence !== null);
  return {
    question,
    layers,
    lanes: [laneOf(answers[0]), laneOf(answers[1])],
    verdict: verdict.length === 0 ? null : verdict.join(" "),
  };
}

function laneOf(answer: Answer): ShownLane {
  const { plan, text, pieces, stats, state, error } = answer;
  const speed = stats?.decodeTokensPerSecond ?? 0;
  const running = text === "" ? "reading" : "writing";
  return {
    kept: plan.layers,
    isHealed: plan.replaced.length > 0,
    text,
    pieces,
    tokensPerSecond: speed > 0 ? speed : null,
    state: state === "running" ? running : state,
    note: error?.message ?? noteOf(answer),
  };
}

function noteOf(answer: Answer): string | null {
  // The page's words name its settings, which a post does not have.
  if (answer.finish === "max-tokens") return words.cut(answer.tokens.length);
  return strings.finish(answer);
}

/** Answers that are markdown are shown as such once they are whole. */
async function showMarkdown(
  exchange: Exchange,
  layers: number,
  { onShown }: LanesRequest,
): Promise<void> {
  const isOver = exchange.answers.every(({ state }) => state === "done");
  if (!isOver || !exchange.answers.some(({ text }) => looksLikeMarkdown(text))) return;
  const { toNodes } = await import("../markdown");
  const shown = shownOf(exchange, layers);
  const withNodes = (lane: ShownLane): ShownLane =>
    looksLikeMarkdown(lane.text) ? { ...lane, nodes: toNodes(lane.text) } : lane;
  onShown({ ...shown, lanes: [withNodes(shown.lanes[0]), withNodes(shown.lanes[1])] });
}

function doneOf(exchange: Exchange | undefined, prompt: string): DoneDetail {
  if (exchange === undefined) throw new HalfdepthError("Aborted", strings.speak.stopped);
  const detail = ({ plan, text, tokens, finish, stats }: Answer): AnswerDetail => ({
    plan: plan.name,
    text,
    tokens: [...tokens],
    finish: finish ?? "stopped",
    tokensPerSecond: stats?.decodeTokensPerSecond ?? null,
  });
  return { prompt, answers: [detail(exchange.answers[0]), detail(exchange.answers[1])] };
}
