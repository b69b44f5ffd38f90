// Parses what a caller asks for, once, into what the engine takes.
import type { Message, Sampling } from "../engine";
import { HalfdepthError } from "../protocol";
import { DEFAULT_SETTINGS, NUMBER_RULES, type NumberField } from "../settings";
import { strings } from "../strings";

/** A message, its text as one string or in parts, as the Prompt API and OpenAI's both write it. */
export interface MessageInput {
  role: "system" | "user" | "assistant";
  content: string | readonly TextPart[];
}

export interface TextPart {
  type: "text";
  /** The Prompt API's name for it. */
  value?: string;
  /** OpenAI's name for it. */
  text?: string;
}

/** What decides which token comes next, and when an answer ends. Greedy where nothing is said. */
export interface SamplingInput {
  /** 0 takes the likeliest token. */
  temperature?: number | undefined;
  /** 0 is off. */
  topK?: number | undefined;
  /** 1 is off. */
  topP?: number | undefined;
  /** 0 is off. */
  minP?: number | undefined;
  /** 1 is off. */
  repetitionPenalty?: number | undefined;
  seed?: number | undefined;
  /** Longest answer, in tokens; left out, as long as the context allows. */
  maxTokens?: number | undefined;
  /** Texts that end an answer and do not appear in it. */
  stop?: string | readonly string[] | undefined;
}

export interface Asked {
  sampling: Sampling;
  maxTokens: number;
  stop: string[];
}

export function readSampling(input: SamplingInput, longest: number): Asked {
  const { sampling } = DEFAULT_SETTINGS;
  const number = (field: NumberField, otherwise: number) =>
    readNumber(field, input[field], otherwise);
  return {
    sampling: {
      temperature: number("temperature", sampling.temperature),
      topK: number("topK", sampling.topK),
      topP: number("topP", sampling.topP),
      minP: number("minP", sampling.minP),
      repetitionPenalty: number("repetitionPenalty", sampling.repetitionPenalty),
      seed: number("seed", sampling.seed),
    },
    maxTokens: Math.min(number("maxTokens", longest), longest),
    stop: readStop(input.stop),
  };
}

/** Text alone is what the user says. */
export function readMessages(input: unknown): Message[] {
  if (typeof input === "string") return [{ role: "user", content: input }];
  if (!Array.isArray(input)) throw new TypeError(strings.library.messages);
  return input.map(readMessage);
}

function readMessage(input: unknown): Message {
  const { role, content } = (input ?? {}) as Partial<Record<keyof MessageInput, unknown>>;
  if (role !== "system" && role !== "user" && role !== "assistant") {
    throw new TypeError(strings.library.role);
  }
  if (typeof content === "string") return { role, content };
  if (!Array.isArray(content)) throw new TypeError(strings.library.content);
  return { role, content: content.map(readPart).join("") };
}

function readPart(input: unknown): string {
  const { type, value, text } = (input ?? {}) as Partial<Record<keyof TextPart, unknown>>;
  const said = value ?? text;
  if (type !== "text" || typeof said !== "string") throw new TypeError(strings.library.content);
  return said;
}

function readNumber(field: NumberField, value: unknown, otherwise: number): number {
  if (value === undefined || value === null) return otherwise;
  const { min, max, step } = NUMBER_RULES[field];
  const fits = typeof value === "number" && value >= min && value <= max;
  if (!fits || (step >= 1 && !Number.isInteger(value))) {
    const rule = strings.settings.range(min, max, step >= 1);
    throw new HalfdepthError("InvalidRequest", strings.library.field(field, rule));
  }
  return value;
}

function readStop(input: unknown): string[] {
  if (input === undefined || input === null) return [];
  const stop: unknown[] = Array.isArray(input) ? input : [input];
  return stop.map((text) => {
    if (typeof text === "string" && text !== "") return text;
    throw new HalfdepthError("InvalidRequest", strings.library.stop);
  });
}
