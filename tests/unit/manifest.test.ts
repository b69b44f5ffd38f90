// What a download takes, told by the manifest alone.
import { readFileSync, statSync } from "node:fs";
import { expect, test } from "vitest";
import { packBytes, packFiles } from "../../www/manifest";

const PACK = "models/halfdepth-stories-12L";
const builtIn = JSON.parse(readFileSync(`${PACK}/manifest.json`, "utf8")) as Record<
  string,
  unknown
>;

test("the built-in pack is as large as its files", () => {
  const files = packFiles(builtIn) ?? [];
  const sizes = files.map(({ file }) => statSync(`${PACK}/${file}`).size);
  expect(files).toHaveLength(21);
  expect(packBytes(files)).toBe(sizes.reduce((sum, size) => sum + size, 0));
});

test("healed layers and heads count, and a file that several layers share counts once", () => {
  const shard = (file: string) => ({ file, bytes: 10 });
  const files = packFiles({
    format: "halfdepth-pack",
    tokenizer: shard("t"),
    embedding: shard("e"),
    head: shard("h"),
    layers: [shard("a"), shard("a"), shard("b")],
    replacements: [shard("r")],
    heads: [shard("g")],
  });
  expect(files?.map(({ file }) => file)).toEqual(["t", "e", "h", "a", "b", "r", "g"]);
  expect(packBytes(files ?? [])).toBe(70);
});

test.each([
  ["null", null],
  ["a text", "halfdepth-pack"],
  ["another format", { ...builtIn, format: "other" }],
  ["layers that are none", { ...builtIn, layers: {} }],
  ["a size that is a text", { ...builtIn, head: { file: "h", bytes: "9" } }],
  ["a negative size", { ...builtIn, head: { file: "h", bytes: -1 } }],
  ["half a byte", { ...builtIn, head: { file: "h", bytes: 0.5 } }],
  ["no tokeniser", { ...builtIn, tokenizer: undefined }],
  ["an endless size", { ...builtIn, head: { file: "h", bytes: 1e300 } }],
])("%s gives no number", (_, manifest) => {
  expect(packFiles(manifest)).toBeNull();
});
