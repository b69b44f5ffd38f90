// What a question is asked with, and how the fields of the settings form become it.
import type { Sampling } from "./engine";
import { strings } from "./strings";

export interface Settings {
  system: string;
  sampling: Sampling;
  maxTokens: number;
  stop: string[];
  /** All lanes continue from the first one's answers; otherwise each from its own. */
  sharedHistory: boolean;
  /** Both lanes run at once; otherwise one after the other, so that neither slows the other's clock. */
  together: boolean;
}

export const DEFAULT_SETTINGS: Settings = {
  system: "",
  // Greedy: whoever asks the same gets the same, and what differs between the lanes is depth alone.
  sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 1 },
  maxTokens: 200,
  stop: [],
  sharedHistory: false,
  together: false,
};

export interface NumberRule {
  min: number;
  max: number;
  step: number;
}

export const NUMBER_RULES = {
  temperature: { min: 0, max: 5, step: 0.1 },
  topK: { min: 0, max: 100_000, step: 1 },
  topP: { min: 0.01, max: 1, step: 0.01 },
  minP: { min: 0, max: 1, step: 0.01 },
  repetitionPenalty: { min: 0.5, max: 3, step: 0.05 },
  seed: { min: 0, max: Number.MAX_SAFE_INTEGER, step: 1 },
  maxTokens: { min: 1, max: 100_000, step: 1 },
} satisfies Record<string, NumberRule>;

export type NumberField = keyof typeof NUMBER_RULES;

/** The number that a field holds, or what is wrong with it. */
export function readNumber(field: NumberField, text: string): number | { wrong: string } {
  const { min, max, step } = NUMBER_RULES[field];
  const value = Number(text.trim().replace(",", "."));
  const whole = step >= 1;
  const fits = text.trim() !== "" && Number.isFinite(value) && value >= min && value <= max;
  if (!fits || (whole && !Number.isInteger(value))) {
    return { wrong: strings.settings.range(min, max, whole) };
  }
  return value;
}

/** One stop string a line; `\n`, `\t` and `\\` stand for what cannot be typed in a line. */
export function readStop(text: string): string[] {
  const escapes: Record<string, string> = { n: "\n", t: "\t", "\\": "\\" };
  return text
    .split(/\r?\n/)
    .filter((line) => line !== "")
    .map((line) => line.replace(/\\([nt\\])/g, (_, letter: string) => escapes[letter] ?? ""));
}

export function showStop(stop: readonly string[]): string {
  const shown = (text: string) =>
    text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\t", "\\t");
  return stop.map(shown).join("\n");
}
