import type { DoneDetail } from "halfdepth/widget";

export function answerOf(detail: DoneDetail, lane: 0 | 1): string {
  return detail.answers[lane].text;
}
