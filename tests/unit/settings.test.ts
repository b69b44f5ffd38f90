import { describe, expect, test } from "vitest";
import { readNumber, readStop, showStop, type NumberField } from "../../www/settings";

describe("a field becomes a number or says what is wrong", () => {
  test.each<[NumberField, string, number]>([
    ["temperature", "0.7", 0.7],
    ["temperature", " 0,7 ", 0.7],
    ["topK", "40", 40],
    ["seed", "9007199254740991", 9007199254740991],
  ])("%s %j is %d", (field, text, value) => {
    expect(readNumber(field, text)).toBe(value);
  });

  test.each<[NumberField, string]>([
    ["temperature", ""],
    ["temperature", "hot"],
    ["temperature", "-1"],
    ["temperature", "Infinity"],
    ["topK", "1.5"],
    ["topP", "0"],
    ["topP", "1.1"],
    ["seed", "9007199254740992"],
    ["maxTokens", "0"],
  ])("%s %j is refused", (field, text) => {
    expect(readNumber(field, text)).toHaveProperty("wrong");
  });
});

test.each([
  ["", []],
  ["END\n\nSTOP", ["END", "STOP"]],
  ["\\n\\n", ["\n\n"]],
  ["a\\\\n", ["a\\n"]],
  [" two words ", [" two words "]],
])("stop strings %j are %j, and back", (text, stop) => {
  expect(readStop(text)).toEqual(stop);
  expect(readStop(showStop(stop))).toEqual(stop);
});
