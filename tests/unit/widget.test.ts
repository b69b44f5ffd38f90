// What the widget reads before anything runs, and what it says of itself.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import builtIn from "../../www/recorded.json";
import { manifestAddress } from "../../www/manifest";
import { allowedParents, readMessage } from "../../www/widget/messages";
import { HalfDepthElement } from "../../www/widget/halfdepth";
import { readRecording } from "../../www/widget/recording";
import { rate, size } from "../../www/widget/words";

describe("a recording", () => {
  test("of the built-in model is read, with the ratio of its speeds", () => {
    const recording = readRecording(builtIn);
    const [full, half] = recording?.shown.lanes ?? [];
    expect(full?.kept).toHaveLength(12);
    expect(half?.kept).toHaveLength(6);
    const ratio = (half?.tokensPerSecond ?? 0) / (full?.tokensPerSecond ?? 0);
    expect(recording?.shown.verdict).toContain(`${ratio.toFixed(1)}×`);
    expect(full?.pieces.map(({ text }) => text).join("")).toBe(full?.text);
  });

  type Recorded = typeof builtIn;
  const changed = (change: (recording: Recorded) => unknown) => {
    const copy = structuredClone(builtIn);
    change(copy);
    return copy;
  };
  const answer = (recording: Recorded) =>
    recording.exchanges[0]?.answers[0] as unknown as Record<string, unknown>;

  test.each<[string, unknown]>([
    ["nothing", null],
    ["a list", []],
    ["an object of another kind", {}],
    ["one without a question", changed((recording) => (recording.exchanges = []))],
    ["one lane alone", changed((recording) => recording.exchanges[0]?.answers.pop())],
    ["no layers", changed((recording) => (recording.layers = 0))],
    ["a million layers", changed((recording) => (recording.layers = 1e6))],
    ["a layer the model lacks", changed((recording) => (recording.layers = 6))],
    ["a text that is none", changed((recording) => (answer(recording).text = { toString: 1 }))],
    ["endless text", changed((recording) => (answer(recording).text = "x".repeat(200_000)))],
    [
      "times before the beginning",
      changed((recording) => (answer(recording).pieces = [{ text: "a", timesMs: [-1] }])),
    ],
    ["pieces that are none", changed((recording) => (answer(recording).pieces = [null]))],
  ])("that is %s is refused", (_, value) => {
    expect(readRecording(value)).toBeNull();
  });
});

describe("the iframe", () => {
  test.each([
    ["https://blog.example", true],
    ["http://localhost:8080", true],
    ["https://blog.example/", false],
    ["https://blog.example/post", false],
    ["https://user@blog.example", false],
    ["*", false],
    ["null", false],
    ["file://", false],
    ["javascript:alert(1)", false],
    ["data:text/html,x", false],
    ["blob:https://blog.example/1", false],
    ["HTTPS://BLOG.EXAMPLE", false],
    ["", false],
  ])("speaks with parent=%s: %s", (parent, speaks) => {
    const asked = new URLSearchParams();
    asked.append("parent", parent);
    asked.append("parent", "https://other.example");
    const origins = allowedParents(asked);
    expect(origins.has(parent)).toBe(speaks);
    expect(origins.has("https://other.example")).toBe(true);
  });

  test.each<[string, unknown, boolean]>([
    ["a question", { target: "halfdepth", type: "ask", prompt: "Hi" }, true],
    ["a stop", { target: "halfdepth", type: "stop" }, true],
    ["a text", "ask", false],
    ["null", null, false],
    ["somebody else's", { target: "other", type: "stop" }, false],
    ["no target", { type: "ask", prompt: "Hi" }, false],
    ["a question that is none", { target: "halfdepth", type: "ask", prompt: ["Hi"] }, false],
    ["a book", { target: "halfdepth", type: "ask", prompt: "x".repeat(8001) }, false],
    ["a command nobody knows", { target: "halfdepth", type: "eval", prompt: "1" }, false],
    ["an address", { target: "halfdepth", type: "model", model: "https://x" }, false],
  ])("of %s", (_, data, isHeard) => {
    expect(readMessage(data) !== null).toBe(isHeard);
  });
});

test.each([
  ["javascript:alert(1)", "scheme"],
  ["data:application/json,{}", "scheme"],
  ["blob:https://a/1", "scheme"],
  ["file:///etc/passwd", "scheme"],
  ["https://user:word@a/", "credentials"],
  ["https://", "unreadable"],
])("the model's address %s is refused", (text, refusal) => {
  expect(manifestAddress(text, "https://page/")).toBe(refusal);
});

test("sizes and speeds are read at a glance", () => {
  const sizes = [1_692_345, 45_600_000, 714_000_000, 4_130_000_000].map(size);
  expect(sizes).toEqual(["1.69 MB", "45.6 MB", "714 MB", "4.1 GB"]);
  expect([5.678, 56.78, 567.8].map(rate)).toEqual(["5.68", "56.8", "568"]);
});

describe("the custom-elements manifest names", () => {
  const read = (path: string) => readFileSync(path, "utf8");
  const { modules } = JSON.parse(read("www/package/custom-elements.json")) as {
    modules: {
      declarations: Record<
        "attributes" | "members" | "events" | "slots" | "cssParts" | "cssProperties",
        { name: string; kind?: string }[]
      >[];
    }[];
  };
  const declared = modules[0]?.declarations[0];
  const names = (of: keyof NonNullable<typeof declared>) =>
    (declared?.[of] ?? []).map(({ name }) => name).sort();
  const found = (text: string, pattern: RegExp) =>
    [...new Set([...text.matchAll(pattern)].map((match) => match[1] ?? ""))].sort();
  const guide = read("docs/widget.md");

  test("every part", () => {
    const view = read("www/widget/view.ts");
    const made = found(view, /(?:make|part)\("\w+", [`"][^`"]*[`"], "([^"]+)"\)/g);
    const lanes = ["lane", "lane-first", "lane-second"];
    const parts = [...new Set([...made.flatMap((list) => list.split(" ")), ...lanes])];
    expect(names("cssParts")).toEqual(parts.sort());
  });

  test("every slot", () => {
    const view = read("www/widget/view.ts");
    const named = found(view, /\bslot\("([a-z]+)"\)/g);
    // The one without a name holds what the author wrote.
    expect(view).toContain('createElement("slot")');
    expect(names("slots")).toEqual(["", ...named]);
    for (const name of named) expect(guide).toContain(`\`${name}\``);
  });

  test("every variable", () => {
    expect(names("cssProperties")).toEqual(
      found(read("www/widget/style.ts"), /var\((--halfdepth-[a-z-]+),/g),
    );
  });

  test("every event, attribute and method", () => {
    const element = read("www/widget/halfdepth.ts");
    expect(names("events")).toEqual(found(element, /"(halfdepth-[a-z]+)": CustomEvent/g));
    const attributes = [
      ...found(element, /(?:[gs]etAttribute|this\.whole|this\.number)\("([a-z-]+)"/g),
    ];
    expect(names("attributes")).toEqual([...new Set([...attributes, "theme"])].sort());
    const prototype = Object.getOwnPropertyNames(HalfDepthElement.prototype);
    expect(prototype).toEqual(expect.arrayContaining(names("members")));
  });

  test("what docs/widget.md explains", () => {
    for (const of of ["attributes", "members", "events", "cssParts", "cssProperties"] as const) {
      for (const name of names(of)) expect(guide, `${of}: ${name}`).toContain(`\`${name}`);
    }
  });
});
