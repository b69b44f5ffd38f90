// One answer of one plan, from request to end.
import type { Finish, LaneStats, TurnRequest } from "../engine";
import { HalfdepthError } from "../protocol";
import type { Borrowed } from "./engine";

export interface Answer {
  text: string;
  finish: Finish;
  stats: LaneStats;
}

/** Hands over text as it comes. Never waits for whoever reads it: the device is somebody else's next. */
export async function answer(
  borrowed: Borrowed,
  plan: string,
  request: TurnRequest,
  signal: AbortSignal,
  said: (text: string) => void,
): Promise<Answer> {
  let text = "";
  for await (const event of borrowed.turn(plan, request, signal)) {
    if (event.kind !== "step") continue;
    const { step } = event;
    text += step.text;
    if (step.text !== "") said(step.text);
    if (step.finish !== null) return { text, finish: step.finish, stats: step.stats };
  }
  throw new HalfdepthError("EngineError", "An answer ended without an end.");
}

/** Callers who stop something are told their own reason, as browsers do. */
export function failure(thrown: unknown, signal: AbortSignal): unknown {
  return signal.aborted ? signal.reason : thrown;
}
