// A comparison as a picture for those who do not open links: both answers, their depths, their speeds, and where to try it.
// Drawn by hand, because a page's own rendering cannot be had as pixels. In: values and a canvas. Out: pixels.
import { runOf, stateOf } from "./change";
import type { PlanChange } from "./engine";
import * as format from "./format";
import { strings } from "./strings";
import type { Answer, Comparison, PerLane } from "./turns";

/** What previews of links are cut to. */
export const SIZE = { width: 1200, height: 630 };

/** Colours and faces of the page it is drawn on. */
export interface Look {
  paper: string;
  ink: string;
  muted: string;
  lanes: readonly [string, string];
  serif: string;
  sans: string;
}

export interface Subject {
  question: string;
  /** The first two are drawn. */
  answers: PerLane<Answer>;
  /** How the second lane departs, in a sentence or two. */
  departure: string | null;
  comparison: Comparison | null;
  /** Layers of the whole model. */
  layers: number;
  model: string;
  software: boolean;
  address: string;
}

type Brush = Pick<
  CanvasRenderingContext2D,
  | "fillStyle"
  | "strokeStyle"
  | "font"
  | "lineWidth"
  | "fillRect"
  | "strokeRect"
  | "fillText"
  | "measureText"
>;

const MARGIN = 48;
const GAP = 32;

export function draw(brush: Brush, look: Look, subject: Subject): void {
  const { width, height } = SIZE;
  brush.fillStyle = look.paper;
  brush.fillRect(0, 0, width, height);

  brush.fillStyle = look.ink;
  brush.font = `600 34px ${look.serif}`;
  const question = lines(brush, subject.question, width - 2 * MARGIN, 2);
  let y = MARGIN + 30;
  for (const line of question) {
    brush.fillText(line, MARGIN, y);
    y += 42;
  }

  const laneWidth = (width - 2 * MARGIN - GAP) / 2;
  const footer = height - MARGIN;
  for (const [lane, answer] of subject.answers.slice(0, 2).entries()) {
    const box = {
      x: MARGIN + lane * (laneWidth + GAP),
      y: y - 12,
      width: laneWidth,
      bottom: footer - 104,
    };
    drawLane(brush, look, answer, subject.layers, look.lanes[lane === 0 ? 0 : 1], box);
  }

  const { comparison, departure } = subject;
  if (departure !== null) {
    const x = MARGIN + laneWidth + GAP;
    brush.fillStyle = look.muted;
    brush.font = `17px ${look.sans}`;
    for (const [index, line] of lines(brush, departure, laneWidth, 2).entries()) {
      brush.fillText(line, x, footer - 68 + index * 24);
    }
  }
  if (comparison !== null) {
    brush.fillStyle = look.ink;
    brush.font = `600 24px ${look.serif}`;
    brush.fillText(strings.comparison(comparison), MARGIN, footer - 22);
  }
  brush.fillStyle = look.muted;
  brush.font = `18px ${look.sans}`;
  const about = subject.software ? `${subject.model}, ${strings.picture.software}` : subject.model;
  const [foot = ""] = lines(brush, `${subject.address} · ${about}`, width - 2 * MARGIN, 1);
  brush.fillText(foot, MARGIN, footer + 8);
}

interface Box {
  x: number;
  y: number;
  width: number;
  bottom: number;
}

function drawLane(
  brush: Brush,
  look: Look,
  answer: Answer,
  layers: number,
  colour: string,
  box: Box,
): void {
  brush.fillStyle = look.ink;
  brush.font = `600 20px ${look.sans}`;
  brush.fillText(strings.lane.of(answer.plan, layers), box.x, box.y + 20);
  if (answer.stats !== null) {
    const speed = strings.picture.speed(format.tokensPerSecond(answer.stats.decodeTokensPerSecond));
    brush.fillStyle = colour;
    brush.fillText(speed, box.x + box.width - brush.measureText(speed).width, box.y + 20);
  }
  drawStrip(brush, runOf(answer.plan), layers, colour, {
    ...box,
    y: box.y + 34,
    bottom: box.y + 60,
  });

  brush.fillStyle = look.ink;
  brush.font = `22px ${look.serif}`;
  const top = box.y + 96;
  const lineHeight = 31;
  const room = Math.max(1, Math.floor((box.bottom - top) / lineHeight) + 1);
  for (const [index, line] of lines(brush, answer.text.trim(), box.width, room).entries()) {
    brush.fillText(line, box.x, top + index * lineHeight);
  }
}

/** The layers, first to last: what runs stands tall and filled, what is skipped lies low and hollow, and of what runs
 * in part half is missing: the upper one is the attention. */
function drawStrip(brush: Brush, run: PlanChange, layers: number, colour: string, box: Box): void {
  const gap = Math.min(4, box.width / layers / 4);
  const width = (box.width - gap * (layers - 1)) / layers;
  const tall = box.bottom - box.y;
  for (let layer = 0; layer < layers; layer += 1) {
    const x = box.x + layer * (width + gap);
    const state = stateOf(run, layer);
    if (state !== "out") {
      const top = state === "no-attention" ? tall / 2 : 0;
      brush.fillStyle = colour;
      brush.fillRect(x, box.y + top, width, state === "runs" ? tall : tall / 2);
    } else {
      brush.strokeStyle = colour;
      brush.lineWidth = 1;
      brush.strokeRect(x + 0.5, box.bottom - 5.5, Math.max(1, width - 1), 5);
    }
  }
}

const ELLIPSIS = "…";

/** `text` broken into lines no wider than `width`; what does not fit into `most` lines ends in an ellipsis. */
export function lines(
  brush: Pick<Brush, "measureText">,
  text: string,
  width: number,
  most: number,
): string[] {
  const fits = (line: string) => brush.measureText(line).width <= width;
  const broken: string[] = [];
  // Paragraphs keep apart, but blank lines would waste the little room there is.
  for (const paragraph of text.split(/\s*\n\s*/)) {
    let line = "";
    for (const word of paragraph.split(/\s+/)) {
      const longer = line === "" ? word : `${line} ${word}`;
      if (fits(longer)) {
        line = longer;
        continue;
      }
      if (line !== "") broken.push(line);
      // One line more than is shown tells that there is more.
      if (broken.length > most) break;
      const pieces = split(word, fits);
      broken.push(...pieces.slice(0, -1));
      line = pieces.at(-1) ?? "";
    }
    if (broken.length > most) break;
    broken.push(line);
  }
  const shown = broken.slice(0, most);
  const last = shown.at(-1);
  if (broken.length <= most || last === undefined) return shown;
  return [...shown.slice(0, -1), shorten(last, fits)];
}

const letters = new Intl.Segmenter();

/** A word that is wider than a line, in pieces that are not. */
function split(word: string, fits: (text: string) => boolean): string[] {
  const pieces: string[] = [];
  let piece = "";
  for (const { segment } of letters.segment(word)) {
    if (piece !== "" && !fits(piece + segment)) {
      pieces.push(piece);
      piece = "";
    }
    piece += segment;
  }
  return [...pieces, piece];
}

function shorten(line: string, fits: (text: string) => boolean): string {
  const characters = [...letters.segment(line)].map(({ segment }) => segment);
  while (characters.length > 0 && !fits(characters.join("") + ELLIPSIS)) characters.pop();
  return characters.join("").trimEnd() + ELLIPSIS;
}
