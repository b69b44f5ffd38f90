// The library as others use it: through npm and Vite, from the package's folder without a bundler, and from dist/.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { cp, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, type Page } from "@playwright/test";
import { ANSWERED_MS, LOADED_MS, test } from "./page";
import { serveSite, type Site } from "./site";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PACK = "dist/models/halfdepth-stories-12L/";
const run = promisify(execFile);
const npm = process.platform === "win32" ? "npm.cmd" : "npm";

test.describe.configure({ mode: "serial", timeout: 3 * LOADED_MS });

// Script, worker and engine of one origin: the whole policy that the guide gives for that.
const guide = readFileSync(join(ROOT, "docs/widget.md"), "utf8");
const headers = { "content-security-policy": /^default-src 'none'; .*$/m.exec(guide)?.[0] ?? "" };
const bare = (body: string) =>
  `<!doctype html><html lang="en"><title>No bundler</title><link rel="icon" href="/none.png">${body}</html>`;

let folder: string;
let project: string;
let site: Site;

test.beforeAll(async ({ baseURL }) => {
  test.setTimeout(300_000);
  folder = await mkdtemp(join(tmpdir(), "halfdepth-package-"));
  project = join(folder, "project");
  site = await serveSite({
    dist: baseURL ?? "",
    folders: {
      built: join(project, "dist"),
      installed: join(project, "node_modules/halfdepth"),
    },
    pages: {
      "bare.html": { html: bare("<main></main>"), headers },
      "bare-widget.html": {
        html: bare(
          `<main><script type="module" src="/installed/widget.js"></script><half-depth model="/${PACK}" prompt="Hello!" max-tokens="8"></half-depth></main>`,
        ),
        headers,
      },
    },
  });
});

test.afterAll(async () => {
  site.close();
  await rm(folder, { recursive: true, force: true });
});

const state = (page: Page) => page.locator("#state");

test("the package, packed and installed into an empty Vite project, compiles under strict and builds", async () => {
  const made = join(folder, "made");
  await run(process.execPath, [join(ROOT, "www/build/package.mjs"), "--outDir", made], {
    cwd: ROOT,
  });
  await run(npm, ["pack", "--pack-destination", folder], { cwd: made });
  const packed = (await readdir(folder)).find((name) => name.endsWith(".tgz")) ?? "";
  await cp(join(ROOT, "examples/vite"), project, { recursive: true });
  // Without a network: the package brings all that it needs, and the tools are those of this repository.
  await run(npm, ["pkg", "delete", "dependencies", "devDependencies"], { cwd: project });
  await run(npm, ["install", "--offline", "--no-audit", "--no-fund", join(folder, packed)], {
    cwd: project,
  });
  const files = await readdir(join(project, "node_modules/halfdepth"));
  expect(files).toEqual(
    expect.arrayContaining([
      ...["index.js", "widget.js", "worker.js", "halfdepth_wasm_bg.wasm", "types"],
      ...["custom-elements.json", "README.md", "LICENSE-MIT", "LICENSE-APACHE", "THIRD-PARTY.md"],
    ]),
  );
  const tool = (path: string, ...args: string[]) =>
    run(process.execPath, [join(ROOT, "node_modules", path), ...args], { cwd: project });
  await tool("typescript/bin/tsc", "--noEmit");
  // Node's own rules for modules, and the declarations themselves, hold too.
  await tool(
    "typescript/bin/tsc",
    ...["--noEmit", "--skipLibCheck", "false"],
    ...["--module", "nodenext", "--moduleResolution", "nodenext"],
  );
  await tool("vite/bin/vite.js", "build", "--base", "./");
  const built = await readdir(join(project, "dist/assets"));
  expect(built.filter((name) => /^worker-.*\.js$|\.wasm$/.test(name))).toHaveLength(2);
});

test("the built project answers in either shape, and its widget as well", async ({ page }) => {
  await page.goto(`${site.url}built/index.html?model=/${PACK}`);
  await page.getByRole("button", { name: "Load and ask" }).click();
  await expect(state(page)).toHaveText("the same in either shape", {
    timeout: LOADED_MS + ANSWERED_MS,
  });
  await expect(page.locator("#answer")).not.toBeEmpty();
  await expect.poll(() => page.workers().length).toBe(0);
  await page.locator("half-depth [part~=load-button]").click();
  await expect(state(page)).toHaveText(/^widget: \w/, { timeout: LOADED_MS + ANSWERED_MS });
});

test("from the package's folder, without a bundler and under the guide's policy, sessions go on, branch, stop and end", async ({
  page,
}) => {
  await page.goto(`${site.url}bare.html`);
  const seen = await page.evaluate(async (model) => {
    // Where it lies when the test runs; no compiler knows.
    const from = "/installed/index.js";
    const { Halfdepth } = (await import(from)) as typeof import("../../www/library/index");
    const before = await Halfdepth.availability({ model });
    const missing = await Halfdepth.availability({ model: "/nothing/" });
    const progress: number[] = [];
    const asked: number[] = [];
    const consent = ({ bytes }: { bytes: number }) => asked.push(bytes) > 0;
    const [halfdepth, other] = await Promise.all([
      Halfdepth.load({
        ...{ model, consent },
        monitor(m) {
          m.addEventListener("downloadprogress", ({ loaded }) => progress.push(loaded));
        },
      }),
      Halfdepth.load({ model, plans: ["half"] }),
    ]);
    const after = await Halfdepth.availability({ model });
    const created: number[] = [];
    const session = await halfdepth.create({
      ...{ plan: "half", maxTokens: 8, stop: ["zzz"] },
      monitor(m) {
        m.addEventListener("downloadprogress", ({ loaded }) => created.push(loaded));
      },
    });
    const first = await session.prompt("Tell me a story about Lily.");
    const usage = session.contextUsage;
    const twin = await session.clone();
    const [second, twins] = await Promise.all([
      session.prompt("And then?"),
      twin.prompt("And then?"),
    ]);
    const text = "Hello there, little dog.";
    const measured = await session.measureContextUsage(text);
    const counted = (await halfdepth.tokenize(text)).length;
    const stop = new AbortController();
    const long = await halfdepth.create({ plan: "full" });
    let stopped = "";
    try {
      for await (const chunk of long.promptStreaming("Tell me a story.", { signal: stop.signal })) {
        if (chunk !== "") stop.abort();
      }
    } catch (thrown) {
      stopped = (thrown as Error).name;
    }
    const refused = await other.chat.completions
      .create({ model: "gpt-4", messages: [{ role: "user", content: "Hi" }] })
      .catch((thrown: unknown) => (thrown as Error).message);
    halfdepth.destroy();
    const destroyed = await session
      .prompt("More?")
      .catch((thrown: unknown) => (thrown as Error).name);
    // The other user's engine is still there.
    const answer = await other.chat.completions.create({
      ...{ model: "half", max_tokens: 8 },
      messages: [{ role: "user", content: "Tell me a story about Lily." }],
    });
    other.destroy();
    return {
      ...{
        before,
        missing,
        after,
        progress,
        created,
        asked,
        first,
        usage,
        second,
        twins,
        measured,
        counted,
      },
      ...{ stopped, refused, destroyed, history: long.history.length },
      ...{ window: session.contextWindow, same: answer.choices[0].message.content === first },
    };
  }, `/${PACK}`);
  expect(seen).toMatchObject({
    before: "downloadable",
    missing: "unavailable",
    after: "available",
  });
  expect(seen.progress).toEqual([...seen.progress].sort((a, b) => a - b));
  expect(seen.progress.at(-1)).toBe(1);
  // Everything is here by then, and whoever waits for an event gets it.
  expect(seen.created).toEqual([1]);
  expect(seen.asked).toHaveLength(1);
  expect(seen.first).not.toBe("");
  expect(seen.usage).toBeGreaterThan(8);
  expect(seen.usage).toBeLessThan(seen.window);
  expect(seen.twins).toBe(seen.second);
  expect(seen.measured).toBe(seen.counted);
  expect(seen).toMatchObject({ stopped: "AbortError", destroyed: "AbortError", history: 0 });
  expect(seen.refused).toContain("gpt-4");
  expect(seen.same).toBe(true);
  await expect.poll(() => page.workers().length).toBe(0);
});

test("the package's widget works without a bundler", async ({ page }) => {
  await page.goto(`${site.url}bare-widget.html`);
  const widget = page.locator("half-depth");
  await widget.locator("[part~=load-button]").click();
  await expect(widget.locator("[part=speed]").first()).toHaveText(/\d tokens\/s$/, {
    timeout: LOADED_MS + ANSWERED_MS,
  });
  await expect(widget.locator("[part=answer]").first()).not.toBeEmpty();
});

test("the examples answer: the Prompt API's shape, and OpenAI's", async ({ page }) => {
  await page.goto(`${site.url}examples/openai-shaped.html`);
  await page.getByRole("button", { name: "Load and ask" }).click();
  await expect(state(page)).toHaveText("16 tokens, the same", { timeout: LOADED_MS + ANSWERED_MS });
  await page.goto(`${site.url}examples/prompt-api.html`);
  await page.getByRole("button", { name: "Load and ask" }).click();
  await expect(state(page)).toHaveText("done", { timeout: LOADED_MS + ANSWERED_MS });
  await expect(page.locator("#answer")).not.toBeEmpty();
  await expect(page.locator("#usage")).toHaveText(/^\d+ of 512 tokens$/);
});
