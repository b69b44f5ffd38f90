// Every word the visitor reads, in one place; those of the widget before it is clicked: www/widget/words.ts.
import * as format from "./format";
import type { LayerState, RunPlan } from "./change";
import type { Adapter, PackInfo, PlanChange, PlanInfo } from "./engine";
import type { ErrorName, FilesProgress, Opened } from "./protocol";
import type { Measured } from "./measure";
import type { Curve, Strategy } from "./scan";
import type { Answer, Comparison, LaneIndex } from "./turns";
import type { NumberField, Settings } from "./settings";
import { laneWords } from "./widget/words";

const numbers = (layers: readonly number[]) => layers.map((layer) => layer + 1).join(", ");
const laneWord = (lane: LaneIndex) => (["first", "second", "third"] as const)[lane];
const KEPT_WORDS = { half: "Half the layers", all: "All the layers" };

export const strings = {
  title: "One model, two depths",
  lead: "A Llama and its half-depth self answer the same question on your own GPU. One download, one set of weights; the second lane simply skips layers.",

  lane: {
    full: laneWords.full,
    part: laneWords.part,
    of: ({ layers: kept, replaced, change }: RunPlan, layers: number): string => {
      const part =
        kept.length === layers ? strings.lane.full(layers) : strings.lane.part(kept.length, layers);
      const plan = replaced.length === 0 ? part : strings.lane.healed(part);
      return change === undefined ? plan : strings.lane.changed(plan);
    },
    /** Two halves are not told apart by how many layers they have: the third lane goes by the pack's name for its plan. */
    title: (plan: RunPlan, layers: number, lane: LaneIndex): string => {
      if (lane !== 2) return strings.lane.of(plan, layers);
      return plan.change === undefined ? plan.title : strings.lane.changed(plan.title);
    },
    strip: ({ layers: kept, muteAttention, muteMlp }: PlanChange, layers: number) => {
      const run = laneWords.strip(kept, layers);
      const attention =
        muteAttention.length === 0 ? "" : ` Attention muted: ${numbers(muteAttention)}.`;
      const mlp = muteMlp.length === 0 ? "" : ` MLP muted: ${numbers(muteMlp)}.`;
      return run + attention + mlp;
    },
    region: laneWords.region,
    waiting: "Waits for its turn, so that neither slows the other's clock.",
    waitingTogether: "Starting.",
    reading: "Reading the question",
    empty: "No text.",
    copy: "Copy",
    copied: "Copied",
    copyFailed: "Not copied",
    copyLabel: (title: string) => `Copy the answer of: ${title}`,
    plan: (lane: LaneIndex) => `Layers of the ${laneWord(lane)} lane`,
    third: "Third lane",
    healed: laneWords.healed,
    changed: (plan: string) => `${plan}, changed`,
    changedOption: ({ title, layers }: RunPlan) => `${title}, changed (${layers.length} layers)`,
    planOption: ({ title, layers, crossEntropy }: PlanInfo) =>
      `${title} (${layers.length} layers${crossEntropy === null ? "" : `, loss ${crossEntropy.toFixed(2)}`})`,
  },

  depth: {
    open: "Change layers",
    openLabel: (lane: LaneIndex) => `Change layers: ${laneWord(lane)} lane`,
    strip: (lane: LaneIndex) => `Each layer of the ${laneWord(lane)} lane`,
    layer: (layer: number) => `Layer ${layer + 1}`,
    states: {
      runs: "Runs",
      "no-attention": "No attention",
      "no-mlp": "No MLP",
      out: "Left out",
    } satisfies Record<LayerState, string>,
    layerState: (layer: number, state: LayerState) =>
      `${strings.depth.layer(layer)}: ${strings.depth.states[state].toLowerCase()}`,
    previous: "Layer before",
    next: "Layer after",
    keep: "Depth",
    kept: (kept: number, layers: number) => `${kept} of ${layers} layers`,
    order: "Leave out first",
    orders: { simple: "The deepest, but the last", similarity: "What turns your text least" },
    reset: "As it was",
    halves: "In the strip, a layer's upper half is its attention, the lower its MLP.",
    asIs: "Runs as the pack has it.",
    fromNow: "Runs from the next answer on. What was measured of the plan is not true of it.",
    nothing: "Something has to run.",
  },

  finish: (answer: Answer): string | null => {
    switch (answer.finish) {
      case "stopped":
        return "Stopped.";
      case "max-tokens":
        return "Cut at the token limit (settings).";
      case "stop-string":
        return "Ended at a stop string.";
      case "context-full":
        return "The context is full: the model cannot read or write more. Start a new conversation.";
      default:
        return null;
    }
  },

  stats: {
    decode: "Decode",
    decodeUnit: "tokens/s",
    firstToken: "First token",
    prefill: "Prefill",
    tokens: "Tokens out / in",
    tokensOf: ({ stats, started }: Answer) =>
      `${stats?.generatedTokens ?? 0} / ${started?.promptTokens ?? stats?.promptTokens ?? 0}`,
    read: "Read per token",
    compute: "Computed per token",
    share: "Share of the device's limit",
    notMeasured: "not measured",
    how: "How these are reckoned",
    formulas: [
      "Decode: tokens after the first, over the time from the first to the last. First token: from asking until it was known. Prefill: the prompt's new tokens over that same time.",
      "Read per token: the bytes of every layer that runs, of the output head and of one row of the embedding, plus keys and values of each position in the cache, half-way through the answer.",
      "Computed per token: 2 × (weights of the layers that run + weights of the head) + 4 × layers × width × context.",
      "Share of the device's limit: bytes read per token × tokens a second, over what this device reads a second at the best, which “Measure 5 times” finds out. Above 100 % the weights come from a cache.",
    ],
    prefillRate: (rate: string) => `${rate} tokens/s`,
    reused: (tokens: number) => `${tokens} kept from before`,
    contextLeft: (tokens: number) => `Room for ${format.count(Math.max(0, tokens))} more tokens`,
    memory: (weights: number, lane: number) =>
      `${format.bytes(weights)} shared weights + ${format.bytes(lane)} of its own`,
  },

  comparison: (comparison: Comparison, where = "here"): string => {
    switch (comparison.kind) {
      case "ratio": {
        const { layersKept, layers, ratio, muted } = comparison;
        const subject = muted
          ? `${layersKept} of ${layers} layers, some in part`
          : layersKept === layers
            ? KEPT_WORDS.all
            : layersKept * 2 === layers
              ? KEPT_WORDS.half
              : `${layersKept} of ${layers} layers`;
        return `${subject}: ${format.ratio(ratio)} as fast ${where}.`;
      }
      case "together":
        return "They ran at once and slowed each other's clock: no fair comparison of speeds.";
      case "hidden":
        return "Void: the tab was hidden meanwhile, and browsers slow down what nobody sees.";
      case "too-short":
        return "Too few tokens to compare speeds.";
    }
  },

  departure: {
    same: "Word for word the same so far as both go.",
    named: (
      word: number,
      token: number,
      said: string | null,
      instead: string | null,
      other: string,
    ) => {
      const where = `word ${word} (token ${token})`;
      if (said === null)
        return `Ends before ${where}, where ${other} goes on with “${instead ?? ""}”.`;
      if (instead === null) return `Goes on at ${where} with “${said}”, where ${other} ends.`;
      return `Departs at ${where}: “${said}”, where ${other} says “${instead}”.`;
    },
    count: (departed: number, words: number) =>
      `${departed} of ${words} words differ; they are underlined.`,
    fullModel: "the full model",
    firstLane: "the first lane",
  },

  look: {
    label: "Look closer",
    score: (whole: boolean) => `Score the ${whole ? "full" : "first"} answer by the second lane`,
    depths: "Read it at every depth",
    third: "Ask this one too",
    thirdLabel: "A third lane for the same question",
    scoring: () => "The second lane reads the first one's answer.",
    readingDepths: (done: number, of: number) =>
      `Reading the answer at every depth: ${done} of ${of} done.`,
    readingLens: () => "Reading this token at every depth.",
    again: "Read it again",
    stopped: "Stopped.",
    failed:
      "The part of the page that shows this could not be loaded. Check your connection and try again.",
    agreement: (agreed: number, tokens: number, meanKl: number) =>
      `Both hold the same token likeliest at ${agreed} of ${tokens} (${format.percent(agreed / tokens)}); mean KL ${format.nats(meanKl)} nats a token.`,
    firstDisagreement: (token: number, expected: string, found: string) =>
      `They part first at token ${token}: the first lane holds “${expected}”, the second “${found}”.`,
    tokens: "The answer, token by token",
    place: (at: number, tokens: number) => `Token ${at + 1} of ${tokens}:`,
    token: (text: string, expected: string, found: string, kl: number) =>
      expected === found
        ? `“${text}”: both hold “${expected}” likeliest; KL ${format.nats(kl)} nats.`
        : `“${text}”: the first lane holds “${expected}” likeliest, the second “${found}”; KL ${format.nats(kl)} nats.`,
    decided: (text: string, after: number, layers: number) =>
      text === ""
        ? `Decided after ${after} of ${layers} layers.`
        : `“${text}”: decided after ${after} of ${layers} layers.`,
    legend:
      "The bar below a token grows with the KL divergence: from 0.02, 0.1, 0.5 and 2 nats. Where the likeliest differs, the token stands on a colour.",
    depthLegend: "The bar below a token grows with the layer after which it is decided.",
    depthTable: "What each depth would have said",
    depthCaption:
      "The logit lens: the head reads the residual stream before the first layer that runs, and after each. On a colour: where the token that the lane says in the end is the likeliest already.",
    after: "Layers run",
    says: "Says",
    probability: (token: string) => `Holds “${token}” likely`,
    rank: "Its rank",
    klColumn: "KL from the end, nats",
  },

  map: {
    open: "Scan my text",
    lead: "Which layers does a text of yours need? The whole model reads runs of it, and each block of layers is measured by how far it turns the residual stream of the last token. What turns it least is missed least. Your text stays on your machine.",
    text: "Your text",
    file: "Or a text file",
    fileRead: (name: string, characters: number) =>
      `${name}: ${format.count(characters)} characters`,
    fileRemove: "Remove",
    fields: {
      samples: "Samples",
      tokens: "Tokens of each",
      seed: "Seed",
      windows: "Windows",
    },
    start: "Scan",
    progress: "Done so far",
    stopped: "Stopped.",
    tooLarge: (name: string, bytes: number, most: number) =>
      `${name} is ${format.bytes(bytes)}; give at most ${format.bytes(most)}.`,
    noText: (name: string) => `${name} is no text in UTF-8. Save it as one, or paste it.`,
    tooShort: (found: number, tokens: number) =>
      `The text has ${format.count(found)} tokens, too few for a sample of ${format.count(tokens)}. Give a longer text, or shorter samples.`,
    beyondContext: (context: number) =>
      `The model reads ${format.count(context)} tokens at most: give shorter samples.`,
    scanning: (done: number, of: number) => `Read ${done} of ${of} samples.`,
    scanned: (samples: number, tokens: number, found: number) =>
      `Read ${samples} samples of ${tokens} tokens, drawn from the ${format.count(found)} tokens of the text.`,
    heatCaption:
      "Mean angular distance between the stream before a block of n layers and after it, in units of π. Each row is coloured from its own least (dark) to its own most; framed: the best block of that length.",
    heatLabel: (layers: number) =>
      `Heat map of the angular distances of all blocks of ${layers} layers; its numbers stand in the tables.`,
    cell: (first: number, dropped: number, distance: number) =>
      `${strings.map.block(first, dropped)}: ${distance.toFixed(4)}`,
    block: (first: number, dropped: number) =>
      dropped === 1 ? `layer ${first + 1}` : `layers ${first + 1}–${first + dropped}`,
    across: "first layer of the block",
    upwards: "layers in the block, n",
    table: "The numbers",
    rowHead: "n",
    blocks: "The best block of every length",
    bestBlock: "Best block",
    distance: "Distance",
    applyHead: "Use it",
    apply: "Leave out",
    applyLabel: (first: number, dropped: number) =>
      `Leave ${strings.map.block(first, dropped)} out of the second lane`,
    applied: (first: number, dropped: number) =>
      `The second lane runs without ${strings.map.block(first, dropped)} from its next answer on.`,
    curveTitle: "Loss against depth",
    curveLead: (window: number) =>
      `What the whole model loses on your text with n layers left out: cross-entropy over disjoint windows of ${window} predictions from its start, each after the begin token alone. Divided by ln V: 1 is guessing among all tokens.`,
    curveStart: "Measure the curve",
    measuring: (done: number, of: number) => `Measured ${done} of ${of} points.`,
    measured: (tokens: number) => `Measured on ${format.count(tokens)} tokens.`,
    curveCaption: "Loss over ln V against the layers left out.",
    curveLabel: (curve: Curve) => {
      const line = (strategy: Strategy) =>
        `${strings.map.strategies[strategy]}: ${curve[strategy].map(({ dropped, loss }) => `${dropped}: ${loss.toFixed(2)}`).join(", ")}`;
      return `Loss in nats a token by layers left out. ${line("similarity")}. ${line("simple")}.`;
    },
    guessing: "guessing",
    dropped: "layers left out, n",
    lossShare: "loss / ln V",
    strategies: {
      similarity: "what turns your text least",
      simple: "the deepest, but the last",
    } satisfies Record<Strategy, string>,
    lossOf: (strategy: Strategy) => `Without ${strings.map.strategies[strategy]}`,
    loss: (nats: number, share: number) => `${nats.toFixed(4)} nats (${share.toFixed(3)})`,
    point: (strategy: Strategy, dropped: number, nats: number, share: number) =>
      `${dropped} left out, ${strings.map.strategies[strategy]}: ${strings.map.loss(nats, share)}`,
  },

  measure: {
    start: (rounds: number) => `Measure ${rounds} times`,
    running: (done: number, of: number) => `Measuring: ${done} of ${of} rounds`,
    hidden:
      "Void: the tab was hidden meanwhile, and browsers slow down what nobody sees. Measure again and keep it in view.",
    stopped: "Stopped: nothing was measured.",
    caption: ({ rounds, tokens }: Measured) =>
      `Medians of ${rounds} rounds, least to most in brackets: ${tokens} tokens a round, after a warm-up that does not count; the lanes took turns and kept nothing from before.`,
    figure: "Figure",
    unit: "tokens/s",
    prompt: (tokens: number) => `Prefill of ${tokens} tokens`,
    limit: ({ bandwidth }: Measured) =>
      `This device read ${format.bytes(bandwidth.bytesPerSecond)} a second at the best, in a buffer of ${format.bytes(bandwidth.bufferBytes)}.`,
    ratio: "Decode, second over first",
    spread: (median: string, least: string, most: string) => `${median} (${least}–${most})`,
  },

  draft: {
    start: "Let the second lane draft",
    title: "The first lane's answer, drafted by the second",
    kept: (accepted: number, drafted: number, rounds: number) =>
      `${accepted} of ${drafted} drafted tokens kept, in ${rounds} ${rounds === 1 ? "pass" : "passes"} of the first lane.`,
    speed: (ratio: string, speedUp: number) =>
      speedUp >= 1
        ? `A token came ${ratio} as fast as without drafts.`
        : `It did not pay: a token came ${ratio} as fast as without drafts.`,
    givenUp: "Drafting was given up on the way, because going without is faster on this device.",
    same: ({ alike, of }: { alike: number; of: number }) =>
      alike === of
        ? `Word for word the first lane's own answer: all ${of} tokens are the same.`
        : `The same as the first lane's own answer up to token ${alike} of ${of}, where its best two tokens were as good as equal.`,
    stopped: "Stopped.",
    how: "Marked words were drafted by the second lane. The first lane looks at all drafts of a pass at once and keeps those that it would have picked itself, so nothing of its answer changes.",
  },

  recorded: {
    label: (on: string) =>
      `Recorded on ${on}, with the built-in model. Ask something, and both answers are computed on your machine.`,
    where: "there",
  },

  replay: {
    start: "Replay side by side",
    label: "Replay at the measured pace",
    skip: "End replay",
    clock: (ms: number) => `${(ms / 1000).toFixed(1)} s`,
  },

  link: {
    plans:
      "The address names plans in a way that is not understood: three names at most, with a comma between, the third unlike the others, and changed layers after a colon.",
    tooLong: "The link is longer than any that this page makes.",
    version: (version: string) =>
      `The link is of a kind (“${version}”) that this page does not know. A newer page may: reload, or ask whoever sent it.`,
    twice: (key: string) => `The link says “${key}” more than once.`,
    field: (key: string, why: string) => `The link's “${key}” cannot be used. ${why}`,
    questions: (most: number) => `The link has no question, an empty one, or more than ${most}.`,
    seeds: "The link has neither one seed for all questions nor one for each.",
    stop: (most: number) => `The link has an empty stop string or more than ${most}.`,
    fingerprint: "The link's fingerprints of the answers are none.",
    ignored: (why: string) => `This link cannot be opened: ${why} The page starts without it.`,
    opened: (questions: number) =>
      questions === 1
        ? "Opened from a link: its question is asked here, on your machine."
        : `Opened from a link: its ${questions} questions are asked here, one after the other, on your machine.`,
    system: (system: string) => `With the system prompt “${system}”.`,
    settings: (settings: Settings) => {
      const { temperature, seed } = settings.sampling;
      return temperature > 0 ? `Temperature ${temperature}, seed ${seed}.` : "";
    },
    same: "Word for word what was shared.",
    differs:
      "Not word for word what was shared: another version of the model, or a device whose sums round differently, took another token somewhere.",
    unknownPlans: (names: readonly string[]) =>
      `This pack has no plan named ${names.map((name) => `“${name}”`).join(" or ")}; another one runs instead.`,
    unfit: (names: readonly string[]) =>
      `The link changes layers of ${names.map((name) => `“${name}”`).join(" and ")} that this model does not have; what the pack says runs instead.`,
    own: "Back to my own conversation",
  },

  history: {
    notKept: "This browser keeps nothing more: the conversation is gone when you leave the page.",
  },

  share: {
    label: "Share this comparison",
    link: "Copy link",
    linkCopied: "Link copied",
    linkShown: "The link, to copy by hand",
    picture: "Save picture",
    pictureFailed: "The picture could not be drawn.",
    report: "Save report",
    part: "The link asks the last question alone: what came before is too long for it, was stopped, or was asked with other settings.",
    whole: "Whoever opens it has the answers computed anew, on their own machine.",
    tooLong: "The question, or what it was asked with, is too long for a link.",
  },

  picture: {
    speed: (rate: string) => `${rate} tokens/s`,
    software: "on a software GPU",
  },

  ask: {
    label: "Your question, for every lane",
    placeholder: "Ask for a story",
    examples: [
      "Tell me a story about Lily and a dog.",
      "Hello! How are you today?",
      "What do you like to do on a rainy day?",
    ],
    examplesLabel: "Try one of these",
    send: "Ask both",
    sendThree: "Ask all three",
    stop: "Stop",
    regenerate: "Regenerate",
    newConversation: "Start anew",
    hint: "Enter asks, Shift+Enter starts a line, Escape stops.",
    question: "You asked",
  },

  settings: {
    title: "Settings",
    system: "System prompt",
    systemHint: "Said to the model before your first question. Empty: nothing is said.",
    labels: {
      temperature: "Temperature",
      topK: "Top-k",
      topP: "Top-p",
      minP: "Min-p",
      repetitionPenalty: "Repetition penalty",
      seed: "Seed",
      maxTokens: "Longest answer",
    } satisfies Record<NumberField, string>,
    hints: {
      temperature: "0 takes the likeliest token each time: asking again repeats the answer",
      topK: "0 is off",
      topP: "1 is off",
      minP: "0 is off",
      repetitionPenalty: "1 is off",
      seed: "Same seed, same text",
      maxTokens: "In tokens",
    } satisfies Record<NumberField, string>,
    stop: "Stop strings",
    stopHint: "One a line; \\n stands for a line break.",
    sharedHistory: "All continue from the first lane's answers",
    sharedHistoryHint: "Otherwise each lane goes on from what it said itself.",
    together: "Run the lanes at once",
    togetherHint: "Each slows the other's clock, so speeds are not compared.",
    reset: "Back to defaults",
    range: (min: number, max: number, whole: boolean) =>
      `Give a ${whole ? "whole number" : "number"} from ${min} to ${format.count(max)}.`,
  },

  ready: ({ name }: PackInfo, memory: string) =>
    `${name} is ready: ${memory} of weights on the GPU, shared by the lanes. No question leaves your machine.`,

  loading: {
    title: "Loading the model",
    engine: "Starting the engine",
    manifest: "Reading the pack's manifest",
    device: "Asking for the GPU",
    files: ({ role, layer }: FilesProgress) => {
      const parts = {
        tokenizer: "Fetching the tokeniser",
        embedding: "Fetching the embedding",
        head: "Fetching the output head",
        layer: `Fetching layer ${(layer ?? 0) + 1}`,
        replacement: `Fetching layer ${(layer ?? 0) + 1}, healed`,
        "replaced-head": "Fetching the healed output head",
      };
      return parts[role];
    },
    retrying: "The connection dropped; picking it up again",
    bytes: (done: number, all: number) => `${format.bytes(done)} of ${format.bytes(all)}`,
    fileCount: (done: number, all: number) => `${done} of ${all} files`,
    lanes: (plan: PlanInfo) => `Preparing the lane: ${plan.title}`,
    lanesOnly: "Preparing the lanes",
    progressLabel: "Bytes loaded",
    cancel: "Cancel",
    cancelledTitle: "Loading stopped",
    cancelled: "Nothing is running. What was loaded in full is kept.",
    load: "Load the model",
    consentTitle: (pack: PackInfo) => `Load ${pack.name}?`,
    consent: ({ bytes, storedBytes }: Opened) =>
      `${format.bytes(bytes - storedBytes)} to download${storedBytes > 0 ? ` (${format.bytes(storedBytes)} are here already)` : ""}. It is kept in this browser, so the next visit needs no download.`,
  },

  errors: {
    titles: {
      WebGpuUnavailable: "This browser gives no access to a GPU",
      PackError: "This model pack cannot be used",
      DeviceLost: "The GPU went away",
      SelfTestFailed: "This GPU computes wrongly",
      ContextFull: "The conversation is longer than the model can read",
      InvalidRequest: "That cannot be asked",
      EngineError: "The engine stopped",
      DownloadError: "The model could not be downloaded",
      InvalidAddress: "That is no address of a model",
      Aborted: "Stopped",
    } satisfies Record<ErrorName, string>,
    retry: "Try again",
    reload: "Load the model again",
    kept: "Your conversation is still here.",
    openDefault: "Open the built-in model",
    webgpuMissing:
      "Halfdepth computes on your own GPU through WebGPU, and this browser does not offer it.",
    webgpuInsecure:
      "WebGPU is only there on secure pages. Open this page over https, or on localhost.",
    webgpuBrowsers: [
      "Chrome or Edge 113 and later (Linux: 144 and later; Android: 121 and later)",
      "Safari 26 and later (macOS, iOS, iPadOS)",
      "Firefox 141 and later on Windows, 145 and later on Macs with Apple silicon",
    ],
    webgpuBrowsersTitle: "It works in",
    webgpuAdvice:
      "In one of these already? Update it, turn hardware acceleration on in its settings, and look at chrome://gpu or about:support to see whether WebGPU is blocked for your driver.",
  },

  address: {
    unreadable: (text: string) =>
      `“${text}” is not an address. Give ?model= the https address of a pack's folder or of its manifest.json.`,
    scheme: (text: string, scheme: string) =>
      `“${text}” begins with ${scheme}, and only http: and https: addresses are opened. Give ?model= the https address of a pack's folder or of its manifest.json.`,
    credentials:
      "The address carries a user name or password, which browsers refuse to send. Give one without.",
  },

  download: {
    refused: (url: string, status: number) =>
      status === 404
        ? `There is nothing at ${url} (404). Check the address; a pack's folder holds manifest.json and its .bin files.`
        : `${url} answered with status ${status}. Try again later, or ask whoever hosts the model.`,
    unreachable: (url: string) =>
      `${url} could not be reached or kept breaking off. Check your connection; if the model lies on another host, that host must allow it to be read from here (CORS).`,
    wrongRange: (url: string) =>
      `${url} answered with other bytes than were asked for. Its server handles ranges wrongly.`,
    wrongLength: (url: string, expected: number, found: number) =>
      `${url} is ${format.count(found)} bytes or more where the manifest says ${format.count(expected)}. The pack was changed or uploaded incompletely: upload it again.`,
    endedEarly: (found: number, expected: number) =>
      `The transfer ended after ${format.count(found)} of ${format.count(expected)} bytes.`,
    manifestTooLarge: (url: string) => `${url} is too large to be a manifest.`,
  },

  engine: {
    workerFailed: (message: string) =>
      `The worker that computes failed${message === "" ? "" : ` (${message})`}. Load the model again.`,
    noPlans: "The pack names no layer plans, so there is nothing to run. Make it again.",
  },

  /** What the library tells those who write pages with it. */
  library: {
    noModel: "Give `model` the address of a pack's folder or of its manifest.json.",
    noPlan: (plan: string, plans: readonly string[]) =>
      `This pack has no plan named “${plan}”; it has ${plans.map((name) => `“${name}”`).join(", ")}.`,
    refused: "The download was not agreed to.",
    destroyed: "It has been destroyed. Load or create another.",
    tooLong: "The conversation is longer than the model can read.",
    messages: "Give a text, or a list of { role, content }.",
    role: "A message's role is “system”, “user” or “assistant”.",
    content:
      'A message\'s content is a text, or parts of { type: "text", value }; nothing else is read.',
    systemFirst: "A system prompt comes first in a conversation, or not at all.",
    field: (name: string, rule: string) => `“${name}” cannot be used. ${rule}`,
    one: "Only 1 answer is given.",
    stop: "“stop” is a text, or a list of texts, and none is empty.",
    unsupported: (names: readonly string[]) =>
      `Not supported: ${names.map((name) => `“${name}”`).join(", ")}. Leave it out.`,
  },

  about: {
    title: "What you are looking at",
    builtIn:
      "The built-in model is a toy on purpose: 2.6 million parameters, trained in an hour on two CPU cores to tell small stories. It knows nothing about the world. It is here so that the page answers after a small download; its speeds say little about large models.",
    other: ({ name, source, licence, parameters, layers, hiddenSize, context }: PackInfo) =>
      `${name}, from ${source}: ${format.parameters(parameters)} parameters, ${layers} layers of width ${hiddenSize}, ${format.count(context)} tokens of context${licence === null ? "" : `, licence ${licence}`}.`,
    claim:
      "“The Unreasonable Ineffectiveness of the Deeper Layers” found that large Llamas keep their multiple-choice scores with up to about half of the layers removed and a little healing. Writing is another matter: text generation falls apart long before multiple choice does, most of all in small models and where nothing was healed. Trust what you read in the two lanes, not the headline.",
    measure:
      "The lanes run one after the other and take turns in going first, so neither slows the other's clock. The replay shows both at once at the pace that was measured.",
    adapter: ({ vendor, architecture, device, description }: Adapter) => {
      const parts = [description || device, vendor, architecture].filter((part) => part !== "");
      return `GPU: ${parts.length === 0 ? "not named by the browser" : parts.join(", ")}.`;
    },
    local: "Everything is computed here; no question leaves your machine.",
    budget:
      "What the layers weigh: memory and work of any Llama, and what is true of 140 GB → 17.5 GB",
  },
  softwareGpu: "Software GPU: these speeds say nothing about your machine.",

  speak: {
    begins: (title: string) => `${title}.`,
    loaded: "The model is ready.",
    done: "Every lane has answered.",
    stopped: "Stopped.",
  },
};
