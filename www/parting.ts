// Where the second lane of an exchange parts from the first, and how that is said.
import { isSameRun, isWhole } from "./change";
import { departures, tokensAlike, type Departures, type Range } from "./departures";
import { strings } from "./strings";
import type { Answer, Exchange } from "./turns";

/** `said`: the texts as they are read, lane by lane. Null while either has said nothing, or both run the same layers. */
export function parting({ answers }: Exchange, said: readonly [string, string]): Departures | null {
  const [first, second] = answers;
  if (isSameRun(first.plan, second.plan) || said.includes("")) return null;
  return departures(...said, { first: mayGoOn(first), second: mayGoOn(second) });
}

/** The first departure named, and how many there are. */
export function tellParting(
  found: Departures | null,
  { answers }: Exchange,
  said: readonly [string, string],
  layers: number,
): string | null {
  if (found === null) return null;
  const words = strings.departure;
  const [first, second] = answers;
  if (found.first === null) {
    return first.state === "done" && second.state === "done" ? words.same : null;
  }
  const cut = (text: string, range: Range | null) => range && text.slice(range.start, range.end);
  const named = words.named(
    found.first.alike + 1,
    tokensAlike(first.tokens, second.tokens) + 1,
    cut(said[1], found.first.second),
    cut(said[0], found.first.first),
    isWhole(first.plan, layers) ? words.fullModel : words.firstLane,
  );
  return found.departed === 0 ? named : `${named} ${words.count(found.departed, found.words)}`;
}

/** Only what the model itself ended is complete. */
function mayGoOn({ finish }: Answer): boolean {
  return finish !== "end-token";
}
