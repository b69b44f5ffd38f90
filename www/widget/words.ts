// Every word that the widget's facade shows. Apart from www/strings.ts, which takes what both say from here: a facade has 10 KB in all.

export const laneWords = {
  full: (layers: number) => `All ${layers} layers`,
  part: (kept: number, layers: number) =>
    kept * 2 === layers ? `Half depth: ${kept} of ${layers}` : `${kept} of ${layers} layers`,
  healed: (part: string) => `${part}, healed`,
  strip: (kept: readonly number[], layers: number) =>
    kept.length === layers
      ? `All ${layers} layers run.`
      : `${kept.length} of ${layers} layers run: numbers ${kept.map((layer) => layer + 1).join(", ")}.`,
  region: (title: string) => `Answer: ${title}`,
};

export const words = {
  label: "One language model at two depths",
  asked: "Asked",
  recorded: (on: string) =>
    `Recorded${on === "" ? "" : ` on ${on}`}; nothing runs on your device yet.`,
  recordedOnly: (on: string) => `Recorded${on === "" ? "" : ` on ${on}`}.`,
  speed: (rate: string) => `${rate} tokens/s`,
  ratio: (kept: number, layers: number, ratio: number) =>
    `${kept * 2 === layers ? "Half the layers" : `${kept} of ${layers} layers`}: ${ratio.toFixed(ratio < 0.95 ? 2 : 1)}× as fast there.`,
  cut: (tokens: number) => `Cut after ${tokens} tokens.`,
  replay: "Replay",
  endReplay: "End replay",
  load: (size: string) => `Ask here: loads up to ${size}`,
  sizes: (model: string, engine: string) =>
    `Model ${model}, engine up to ${engine}. The model is kept in this browser, and nothing you ask leaves your device.`,
  again: "Try again",
  ask: "Ask both",
  stop: "Stop",
  cancel: "Cancel",
  question: "Your question, for both",
  starting: "Starting",
  progress: "Bytes loaded",
  waiting: "Waits for its turn, so that neither slows the other's clock.",
  reading: "Reading the question",
  noGpu:
    "This browser offers no WebGPU, so nothing can be computed here. Chrome and Edge 113, Safari 26 and Firefox 141 or later do.",
  noModel:
    "The page names no model to ask: the attribute “model” is to hold the http(s) address of a pack.",
  unreachable: (url: string) =>
    `The model's manifest at ${url} cannot be read. If it lies on another host, that host must allow it (CORS).`,
  noManifest: (url: string) => `What lies at ${url} is no manifest of a model.`,
  noRecording: "The recorded answers cannot be read.",
  chunk:
    "The rest of the widget could not be loaded. Check the connection, or the page's Content-Security-Policy.",
};

/** Always in MB, up to the point where that is silly: 1.69 MB, 714 MB, 4.1 GB. */
export function size(bytes: number): string {
  const mb = bytes / 1e6;
  if (mb >= 1000) return `${(mb / 1000).toFixed(1)} GB`;
  return `${mb < 10 ? mb.toFixed(2) : mb < 100 ? mb.toFixed(1) : mb.toFixed(0)} MB`;
}

/** Three figures. */
export function rate(tokensPerSecond: number): string {
  if (tokensPerSecond >= 100) return tokensPerSecond.toFixed(0);
  return tokensPerSecond.toFixed(tokensPerSecond >= 10 ? 1 : 2);
}
