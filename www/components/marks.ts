// Marks ranges of an answer's text without touching its nodes: by CSS custom highlights, which every browser with WebGPU has.
import type { Range as TextRange } from "../departures";

const NAMES = ["departed", "departs-first"] as const;
type Name = (typeof NAMES)[number];

/** What one answer has marked; the registry is the whole document's. */
export class Marks {
  private set: { name: Name; range: Range }[] = [];

  /** Ranges count characters of `root`'s text; what lies beyond its end is left out. */
  show(root: Element, departed: readonly TextRange[], first: TextRange | null): void {
    this.clear();
    if (departed.length === 0 && first === null) return;
    const find = places(root);
    for (const range of departed) this.add("departed", find(range));
    if (first !== null) this.add("departs-first", find(first));
  }

  clear(): void {
    for (const { name, range } of this.set) registered(name)?.delete(range);
    this.set = [];
  }

  private add(name: Name, range: Range | null): void {
    if (range === null) return;
    registered(name)?.add(range);
    this.set.push({ name, range });
  }
}

function registered(name: Name): Highlight | undefined {
  if (typeof Highlight === "undefined") return undefined;
  const known = CSS.highlights.get(name);
  if (known !== undefined) return known;
  const made = new Highlight();
  made.priority = NAMES.indexOf(name);
  CSS.highlights.set(name, made);
  return made;
}

/** From characters of the whole text to places in its nodes. */
function places(root: Element): (range: TextRange) => Range | null {
  const nodes: { node: Text; start: number }[] = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  let length = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode as Text;
    nodes.push({ node, start: length });
    length += node.data.length;
  }
  const at = (offset: number, isEnd: boolean) =>
    nodes.findLast(({ start }) => (isEnd ? start < offset : start <= offset));
  return ({ start, end }) => {
    const from = at(start, false);
    const to = at(Math.min(end, length), true);
    if (start >= length || from === undefined || to === undefined) return null;
    const range = document.createRange();
    range.setStart(from.node, start - from.start);
    range.setEnd(to.node, Math.min(end, length) - to.start);
    return range;
  };
}
