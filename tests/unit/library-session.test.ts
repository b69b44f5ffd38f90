// Sessions in the Prompt API's shape, over a stand-in for the engine.
import { beforeEach, describe, expect, test } from "vitest";
import type { Message } from "../../www/engine";
import { readSampling } from "../../www/library/request";
import { LanguageModelSession, withoutOldest } from "../../www/library/session";
import { ScriptedPack } from "./borrowed";

let pack: ScriptedPack;
let session: LanguageModelSession;

beforeEach(() => {
  pack = new ScriptedPack();
  const asked = readSampling({ temperature: 0.5, seed: 7, maxTokens: 9, stop: "." }, 32);
  session = new LanguageModelSession({ borrowed: pack, plan: "half", contextWindow: 32, asked });
});

const texts = (messages: readonly Message[]) => messages.map(({ content }) => content);

test("a prompt is answered by the session's plan, as it was asked for, and remembered", async () => {
  expect(await session.prompt("one two")).toBe("half answer 1");
  expect(await session.prompt("three")).toBe("half answer 2");
  expect(pack.asked[1]).toMatchObject({
    plan: "half",
    request: {
      messages: [
        { role: "user", content: "one two" },
        { role: "assistant", content: "half answer 1" },
        { role: "user", content: "three" },
      ],
      sampling: { temperature: 0.5, seed: 7 },
      maxTokens: 9,
      stop: ["."],
    },
  });
  expect(session.contextUsage).toBe(6 + 2);
});

test("a stream gives what is new, chunk by chunk", async () => {
  const chunks: string[] = [];
  for await (const chunk of session.promptStreaming("hello")) chunks.push(chunk);
  expect(chunks).toEqual(["half ", "answer 1"]);
});

test("prompts at once are answered one after the other, each knowing what came before", async () => {
  const answers = await Promise.all([session.prompt("a"), session.prompt("b")]);
  expect(answers).toEqual(["half answer 1", "half answer 2"]);
  expect(texts(pack.asked[1]?.request.messages ?? [])).toEqual(["a", "half answer 1", "b"]);
});

describe("stopping", () => {
  test("by a signal rejects with its reason, and the session is as it was", async () => {
    pack.may = new Promise(() => undefined);
    const stop = new AbortController();
    const asking = session.prompt("a", { signal: stop.signal });
    await new Promise((resolve) => setTimeout(resolve));
    stop.abort(new Error("enough"));
    await expect(asking).rejects.toThrow("enough");
    expect(session.history).toEqual([]);
    pack.may = Promise.resolve();
    expect(await session.prompt("b")).toBe("half answer 2");
  });

  test("by cancelling a stream stops the answer", async () => {
    pack.may = new Promise(() => undefined);
    const reader = session.promptStreaming("a").getReader();
    expect((await reader.read()).value).toBe("half ");
    await reader.cancel();
    pack.may = Promise.resolve();
    expect(await session.prompt("b")).toBe("half answer 2");
  });

  test("by destroying it refuses what comes", async () => {
    pack.may = new Promise(() => undefined);
    const asking = session.prompt("a");
    await new Promise((resolve) => setTimeout(resolve));
    session.destroy();
    await expect(asking).rejects.toMatchObject({ name: "AbortError" });
    await expect(session.prompt("b")).rejects.toMatchObject({ name: "AbortError" });
    await expect(session.clone()).rejects.toMatchObject({ name: "AbortError" });
  });
});

test("what is appended is read and not answered, and a clone goes on by itself", async () => {
  await session.append([
    { role: "system", content: "be brief" },
    {
      role: "user",
      content: [
        { type: "text", value: "hi " },
        { type: "text", text: "you" },
      ],
    },
  ]);
  expect(pack.asked).toEqual([]);
  expect(session.contextUsage).toBe(4);
  const twin = await session.clone();
  await twin.prompt("a");
  expect(texts(twin.history)).toEqual(["be brief", "hi you", "a", "half answer 1"]);
  expect(texts(session.history)).toEqual(["be brief", "hi you"]);
  expect(await session.measureContextUsage("one two three")).toBe(3);
});

test("a conversation that is too long forgets its oldest exchange, says so, and keeps the system prompt", async () => {
  await session.append([{ role: "system", content: "s" }]);
  await session.prompt("old");
  pack.context = 4;
  let overflows = 0;
  session.oncontextoverflow = () => (overflows += 1);
  await session.prompt("new");
  expect(overflows).toBe(1);
  expect(texts(session.history)).toEqual(["s", "new", "half answer 3"]);
  await expect(session.prompt("a b c d e")).rejects.toMatchObject({ name: "QuotaExceededError" });
  expect(texts(session.history)).toEqual(["s", "new", "half answer 3"]);
});

test.each([
  ["a number", 5],
  ["a role nobody has", [{ role: "robot", content: "x" }]],
  ["a picture", [{ role: "user", content: [{ type: "image", value: "x" }] }]],
  [
    "a system prompt that comes late",
    [
      { role: "user", content: "x" },
      { role: "system", content: "y" },
    ],
  ],
  ["null in a list", [null]],
])("%s is a TypeError", async (_, input) => {
  await expect(session.prompt(input as unknown as string)).rejects.toBeInstanceOf(TypeError);
});

test("nothing is left to forget of an empty conversation", () => {
  expect(withoutOldest([{ role: "system", content: "s" }])).toBeNull();
  expect(withoutOldest([])).toBeNull();
});

test.each([
  [{ temperature: -1 }],
  [{ temperature: Number.NaN }],
  [{ topP: 2 }],
  [{ seed: 1.5 }],
  [{ maxTokens: 0 }],
  [{ temperature: "1" as unknown as number }],
  [{ stop: [""] }],
  [{ stop: 3 as unknown as string }],
])("%o is refused by name", (input) => {
  const name = Object.keys(input)[0] ?? "";
  expect(() => readSampling(input, 32)).toThrow(name);
});

test("no answer is longer than the context", () => {
  expect(readSampling({}, 32).maxTokens).toBe(32);
  expect(readSampling({ maxTokens: 99 }, 32).maxTokens).toBe(32);
});
