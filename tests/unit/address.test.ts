import { describe, expect, test } from "vitest";
import { fileUrl, manifestUrl } from "../../www/address";

const PAGE = "https://example.org/demo/index.html";

describe("?model= opens any pack", () => {
  test.each([
    ["", "https://example.org/demo/models/halfdepth-stories-12L/manifest.json"],
    ["?model=", "https://example.org/demo/models/halfdepth-stories-12L/manifest.json"],
    ["?model=https://h.co/p", "https://h.co/p/manifest.json"],
    ["?model=https://h.co/p/", "https://h.co/p/manifest.json"],
    ["?model=https://h.co/p/manifest.json", "https://h.co/p/manifest.json"],
    ["?model=http://localhost:8000", "http://localhost:8000/manifest.json"],
    ["?model=../other/", "https://example.org/other/manifest.json"],
    ["?model=https://h.co/p/manifest.json%23top", "https://h.co/p/manifest.json"],
  ])("%s -> %s", (search, expected) => {
    expect(manifestUrl(search, PAGE)).toBe(expected);
  });

  test.each([
    "javascript:alert(1)",
    "data:application/json,{}",
    "file:///etc/passwd",
    "blob:https://example.org/1",
    "ftp://h.co/p",
    "https://",
    "https://me:secret@h.co/p",
  ])("%s is refused with a named error", (model) => {
    const search = `?model=${encodeURIComponent(model)}`;
    expect(() => manifestUrl(search, PAGE)).toThrow(
      expect.objectContaining({ name: "InvalidAddress" }),
    );
  });

  test("files lie beside their manifest", () => {
    expect(fileUrl("https://h.co/p/manifest.json", "ab.bin")).toBe("https://h.co/p/ab.bin");
  });
});
