// Where one answer departs from another, word by word: the first place by comparing from the start, the rest by alignment.
import { diffArrays } from "diff";

export interface Range {
  start: number;
  end: number;
}

export interface Departures {
  /** In the second text: what the first one lacks. */
  marked: readonly Range[];
  first: FirstDeparture | null;
  /** Words of the second text that could be compared, and how many of them depart. */
  words: number;
  departed: number;
}

export interface FirstDeparture {
  /** Words that both texts begin with. */
  alike: number;
  /** Where it happens in either text; null where that text had ended. */
  first: Range | null;
  second: Range | null;
}

/** Whether a text may go on: its lane still writes, or was cut. What lies beyond its end is no departure then. */
export interface MayGoOn {
  first: boolean;
  second: boolean;
}

// Beyond this many words put in and left out, texts have nothing to do with each other, and aligning them takes long.
const EDITS_MAX = 1000;

export function departures(first: string, second: string, mayGoOn: MayGoOn): Departures {
  const a = words(first, mayGoOn.first);
  const b = words(second, mayGoOn.second);
  let alike = 0;
  while (alike < a.length && alike < b.length && a[alike]?.text === b[alike]?.text) alike += 1;
  const none: Departures = { marked: [], first: null, words: b.length, departed: 0 };
  if (alike === b.length) {
    const ended = alike < a.length && !mayGoOn.second;
    return ended ? { ...none, first: { alike, first: rangeOf(a[alike]), second: null } } : none;
  }
  if (alike === a.length && mayGoOn.first) return { ...none, words: alike };
  const begins = { alike, first: rangeOf(a[alike]), second: rangeOf(b[alike]) };
  const { departed, beyond } = align(a.slice(alike), b.slice(alike), mayGoOn.first);
  return {
    marked: joined(departed),
    first: begins,
    words: b.length - beyond,
    departed: departed.length,
  };
}

/** How many tokens two answers begin with alike. */
export function tokensAlike(a: readonly number[], b: readonly number[]): number {
  const differing = a.findIndex((token, at) => token !== b[at]);
  return differing === -1 ? a.length : differing;
}

interface Word extends Range {
  text: string;
  /** Place among the words of its text. */
  at: number;
}

function align(
  a: readonly Word[],
  b: readonly Word[],
  mayGoOn: boolean,
): { departed: Word[]; beyond: number } {
  const texts = (list: readonly Word[]) => list.map(({ text }) => text);
  // Exact types of the library: undefined when there are too many edits.
  const changes = diffArrays(texts(a), texts(b), { maxEditLength: EDITS_MAX });
  if (changes === undefined) return { departed: [...b], beyond: 0 };
  const departed: Word[] = [];
  let at = 0;
  let removed = 0;
  for (const { added, removed: isRemoved, count } of changes) {
    if (isRemoved) {
      removed = count;
      continue;
    }
    if (added) {
      const isTail = at + count === b.length;
      const compared = isTail && mayGoOn ? Math.min(count, removed) : count;
      departed.push(...b.slice(at, at + compared));
      if (compared < count) return { departed, beyond: count - compared };
    }
    at += count;
    removed = 0;
  }
  return { departed, beyond: 0 };
}

/** Neighbours become one range, the space between them included. */
function joined(list: readonly Word[]): Range[] {
  const ranges: (Range & { last: number })[] = [];
  for (const { start, end, at } of list) {
    const before = ranges.at(-1);
    if (before !== undefined && before.last + 1 === at) {
      before.end = end;
      before.last = at;
    } else {
      ranges.push({ start, end, last: at });
    }
  }
  return ranges.map(({ start, end }) => ({ start, end }));
}

function rangeOf(word: Word | undefined): Range | null {
  return word === undefined ? null : { start: word.start, end: word.end };
}

const segmenter = new Intl.Segmenter(undefined, { granularity: "word" });

/** Words and marks of punctuation; of a text that may go on, without the last one, which may be half a word. */
function words(text: string, mayGoOn: boolean): Word[] {
  const found: Word[] = [];
  for (const { segment, index } of segmenter.segment(text)) {
    if (segment.trim() === "") continue;
    found.push({ text: segment, start: index, end: index + segment.length, at: found.length });
  }
  if (mayGoOn && found.at(-1)?.end === text.length) found.pop();
  return found;
}
