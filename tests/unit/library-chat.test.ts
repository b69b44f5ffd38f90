// chat.completions.create, over a stand-in for the engine.
import { beforeEach, expect, test } from "vitest";
import {
  completions,
  type ChatCompletionChunk,
  type ChatCompletionRequest,
  type Completions,
} from "../../www/library/chat";
import { ScriptedPack } from "./borrowed";

let pack: ScriptedPack;
let chat: Completions;

beforeEach(() => {
  pack = new ScriptedPack();
  chat = completions({ borrowed: () => pack, plans: ["full", "half"], contextWindow: 32 });
});

const messages = [{ role: "user", content: "hello there" }] as const;

test("a completion has OpenAI's shape", async () => {
  const asked = { temperature: 0.7, top_p: 0.9, max_tokens: 5, seed: 3, stop: ["x"] };
  const made = await chat.create({ model: "half", messages, ...asked });
  expect(made).toMatchObject({
    object: "chat.completion",
    model: "half",
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: "half answer 1" },
        finish_reason: "stop",
      },
    ],
    usage: { prompt_tokens: 2, completion_tokens: 2, total_tokens: 4 },
  });
  expect(made.id).toMatch(/^chatcmpl-[0-9a-f]{24}$/);
  expect(pack.asked[0]?.request).toMatchObject({
    sampling: { temperature: 0.7, topP: 0.9, seed: 3 },
    maxTokens: 5,
    stop: ["x"],
  });
});

test("a stream begins with the role, ends with the reason, and tells usage where that is asked for", async () => {
  const chunks: ChatCompletionChunk[] = [];
  const stream = await chat.create({
    ...{ model: "full", messages, stream: true },
    stream_options: { include_usage: true },
  });
  for await (const chunk of stream) chunks.push(chunk);
  expect(chunks.map(({ choices }) => choices[0]?.delta)).toEqual([
    ...[{ role: "assistant", content: "" }, { content: "full " }, { content: "answer 1" }, {}],
    undefined,
  ]);
  expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe("stop");
  expect(chunks.at(-1)?.usage?.total_tokens).toBe(4);
  expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
});

test("leaving the loop, the controller or a signal stops the answer", async () => {
  pack.may = new Promise(() => undefined);
  const ask = { model: "full", messages, stream: true } as const;
  for await (const chunk of await chat.create(ask)) {
    if (chunk.choices[0]?.delta.content === "full ") break;
  }
  const second = await chat.create(ask);
  const reading = second.toReadableStream().pipeTo(new WritableStream());
  second.controller.abort();
  await expect(reading).rejects.toMatchObject({ name: "AbortError" });
  const stop = new AbortController();
  const third = chat.create({ model: "full", messages }, { signal: stop.signal });
  stop.abort(new Error("enough"));
  await expect(third).rejects.toThrow("enough");
});

test.each([
  ["a plan that is not there", { model: "gpt-4" }, "“gpt-4”"],
  ["two answers", { n: 2 }, "n"],
  ["tools", { tools: [] }, "tools"],
  ["a format", { response_format: { type: "json_object" } }, "response_format"],
  ["heat that is none", { temperature: 9 }, "temperature"],
])("%s is refused, not ignored", async (_, part, named) => {
  const request = { model: "full", messages, ...part } as ChatCompletionRequest;
  await expect(chat.create(request)).rejects.toThrow(named);
  expect(pack.asked).toEqual([]);
});
