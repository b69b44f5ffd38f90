import { describe, expect, test } from "vitest";
import { draw, lines, SIZE, type Look } from "../../www/picture";
import { compare } from "../../www/turns";
import { answerOf, exchangeOf, FULL, HALF } from "./exchanges";

/** Every character is ten wide. */
const measureText = (text: string) =>
  ({ width: [...new Intl.Segmenter().segment(text)].length * 10 }) as TextMetrics;

describe("text is broken into lines", () => {
  test.each<[string, number, number, string[]]>([
    ["one two three", 130, 9, ["one two three"]],
    ["one two three", 80, 9, ["one two", "three"]],
    ["one two three", 80, 1, ["one two…"]],
    ["one two three", 70, 1, ["one tw…"]],
    ["one\n\n two", 80, 9, ["one", "two"]],
    ["abcdefghij", 40, 9, ["abcd", "efgh", "ij"]],
    ["abcdefghij", 40, 2, ["abcd", "efg…"]],
    ["👩‍🚀👩‍🚀👩‍🚀", 20, 9, ["👩‍🚀👩‍🚀", "👩‍🚀"]],
    ["", 40, 2, [""]],
  ])("%j, %d wide, at most %d", (text, width, most, expected) => {
    expect(lines({ measureText }, text, width, most)).toEqual(expected);
  });
});

test("the picture names both depths, speeds, answers and where it comes from, all within its edges", () => {
  const drawn: { text: string; x: number; y: number }[] = [];
  const strips: string[] = [];
  const brush = {
    fillStyle: "",
    strokeStyle: "",
    lineWidth: 1,
    font: "",
    fillRect: () => strips.push("kept"),
    strokeRect: () => strips.push("left out"),
    fillText: (text: string, x: number, y: number) => drawn.push({ text, x, y }),
    measureText,
  };
  const look: Look = {
    ...{ paper: "#fff", ink: "#000", muted: "#888" },
    ...{ lanes: ["#00f", "#f00"], serif: "serif", sans: "sans" },
  };
  const long = "word ".repeat(500);
  const exchange = exchangeOf("Why? ".repeat(200), {
    answers: [answerOf(FULL, long), answerOf(HALF, long)],
  });
  draw(brush, look, {
    question: exchange.question,
    answers: exchange.answers,
    departure: "Departs at word 2. ".repeat(20),
    comparison: compare(exchange),
    layers: 4,
    model: "a-model",
    software: true,
    address: "example.org/demo/",
  });
  const all = drawn.map(({ text }) => text).join("\n");
  for (const part of [
    "All 4 layers",
    "Half depth: 2 of 4",
    "100 tokens/s",
    "170 tokens/s",
    "1.7×",
    "example.org/demo/",
    "a-model",
    "software GPU",
    "word…",
    "Departs at word 2.",
  ]) {
    expect(all).toContain(part);
  }
  // The paper, six layers that run, two that do not.
  expect(strips.filter((what) => what === "kept")).toHaveLength(1 + 6);
  expect(strips.filter((what) => what === "left out")).toHaveLength(2);
  for (const { text, x, y } of drawn) {
    expect(x, text).toBeGreaterThanOrEqual(0);
    expect(x + measureText(text).width, text).toBeLessThanOrEqual(SIZE.width);
    expect(y, text).toBeLessThanOrEqual(SIZE.height);
  }
});
