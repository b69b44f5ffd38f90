import { describe, expect, test } from "vitest";
import * as format from "../../www/format";

describe("numbers read as people write them", () => {
  test.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.00 kB"],
    [999_999, "1.00 MB"],
    [1_842_000, "1.84 MB"],
    [17_500_000_000, "17.5 GB"],
    [1_234_000_000_000, "1,234 GB"],
  ])("%d bytes are %s", (count, text) => {
    expect(format.bytes(count)).toBe(text);
  });

  test.each([
    [0.4, "0.4 ms"],
    [87.3, "87 ms"],
    [999.6, "1.00 s"],
    [61_000, "61.00 s"],
  ])("%d ms are %s", (ms, text) => {
    expect(format.milliseconds(ms)).toBe(text);
  });

  test.each([
    [0, "–"],
    [Number.NaN, "–"],
    [3.456, "3.46"],
    [57.81, "57.8"],
    [1234.5, "1,235"],
  ])("%d tokens per second are %s", (rate, text) => {
    expect(format.tokensPerSecond(rate)).toBe(text);
  });

  test.each([
    [1.74, "1.7×"],
    [1, "1.0×"],
    [0.871, "0.87×"],
  ])("a ratio of %d is %s", (value, text) => {
    expect(format.ratio(value)).toBe(text);
  });

  test.each([
    [260, "260"],
    [2_600_000, "2.60 M"],
    [1_236_000_000, "1.24 B"],
  ])("%d parameters are %s", (value, text) => {
    expect(format.parameters(value)).toBe(text);
  });
});
