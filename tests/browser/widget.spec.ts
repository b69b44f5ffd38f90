// The widget as authors embed it: in pages of another origin, in frames, under the guide's policies, twice, and without a GPU.
import { gzipSync } from "node:zlib";
import AxeBuilder from "@axe-core/playwright";
import { expect, type Locator, type Page } from "@playwright/test";
import type { DoneDetail } from "../../www/widget/shown";
import { laneWords, words } from "../../www/widget/words";
import { expectAccessible } from "./accessible";
import { ANSWERED_MS, expectNoSidewaysScroll, LOADED_MS, test as base } from "./page";
import { serveSite, type Site, type SitePage } from "./site";

const PACK = "models/halfdepth-stories-12L/";

/** What the guide gives for a page whose script and pack lie on another host: docs/widget.md. */
function policy(host: string): string {
  return (
    `default-src 'none'; script-src 'self' ${host} 'wasm-unsafe-eval'; worker-src blob: ${host}; ` +
    `connect-src 'self' ${host}; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'`
  );
}

const test = base.extend<{ site: Site; dist: string }>({
  dist: async ({ baseURL }, use) => {
    await use(baseURL ?? "");
  },
  site: async ({ dist, request }, use) => {
    const hashes = (await (await request.get(`${dist}sri.json`)).json()) as Record<string, string>;
    const site = await serveSite({ dist, pages: pages(dist, hashes["halfdepth.js"] ?? "") });
    await use(site);
    site.close();
  },
});

test.describe.configure({ timeout: 3 * LOADED_MS });

function post(dist: string, integrity: string, attributes: string, inside = ""): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A post</title>
    <meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
    <link rel="stylesheet" href="/examples/post.css">
    <script type="module" src="${dist}halfdepth.js" integrity="${integrity}" crossorigin="anonymous"></script></head>
    <body><main><h1>A post</h1><half-depth ${attributes}>${inside}</half-depth></main></body></html>`;
}

function pages(dist: string, integrity: string): Record<string, SitePage> {
  const { origin } = new URL(dist);
  const model = `model="${dist}${PACK}"`;
  const recorded = `recorded="${dist}recorded.json"`;
  const prompt = `prompt="Tell me a story about Lily and a dog."`;
  return {
    "post.html": {
      html: post(
        dist,
        integrity,
        `${model} ${recorded} ${prompt} max-tokens="16"`,
        "<p>As text.</p>",
      ),
      headers: { "content-security-policy": policy(origin) },
    },
    "bare.html": { html: post(dist, integrity, `${model} ${prompt}`, "<p>As text.</p>") },
    "nothing.html": { html: post(dist, integrity, "", "<p>As text.</p>") },
    "frame.html": {
      html: `<!doctype html><title>A frame</title><iframe width="600" height="800" title="frame"></iframe>`,
    },
  };
}

const load = (root: Page | Locator) => root.locator("[part~=load-button]");
const answers = (widget: Locator) => widget.locator("[part=answer] .words:not(.rest)");

/** Counts what the browser asks for, by what it is. */
function watchRequests(page: Page): string[] {
  const asked: string[] = [];
  page.context().on("request", (request) => asked.push(new URL(request.url()).pathname));
  return asked;
}

const HEAVY = /\.(bin|wasm)$|\/assets\//;

async function watchPolicy(page: Page): Promise<string[]> {
  const violations: string[] = [];
  await page.exposeFunction("violated", (text: string) => violations.push(text));
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
      (window as unknown as { violated: (text: string) => void }).violated(
        `${violatedDirective} ${blockedURI}`,
      );
    });
  });
  return violations;
}

/** Writes down the widget's events, in order. */
async function watchEvents(page: Page): Promise<{ type: string; detail: unknown }[]> {
  const events: { type: string; detail: unknown }[] = [];
  await page.exposeFunction("heard", (type: string, detail: unknown) =>
    events.push({ type, detail }),
  );
  await page.addInitScript(() => {
    for (const type of ["load", "progress", "token", "done", "error"]) {
      addEventListener(`halfdepth-${type}`, (event) => {
        const { heard } = window as unknown as { heard: (type: string, detail: unknown) => void };
        heard(type, (event as CustomEvent).detail);
      });
    }
  });
  return events;
}

test("in a post of another origin, under the guide's policy, it loads nothing heavy before the click, and then answers", async ({
  page,
  site,
}) => {
  const asked = watchRequests(page);
  const violations = await watchPolicy(page);
  const events = await watchEvents(page);
  let modelBytes = 0;
  page.context().on("response", (response) => {
    if (
      !/\/models\/.*\.(bin|json)$/.test(response.url()) ||
      response.url().endsWith("manifest.json")
    )
      return;
    void response.body().then((body) => (modelBytes += body.length));
  });
  await page.emulateMedia({ reducedMotion: "reduce" });
  await page.goto(`${site.url}post.html`);
  const widget = page.locator("half-depth");
  await expect(widget.locator("[part=label]")).toContainText("Recorded on");
  await expect(answers(widget).first()).toContainText("Once upon a time");
  await expect(page.getByText("As text.")).toBeHidden();
  await expect(load(widget)).toHaveText(/ \d+(\.\d+)? MB$/);
  await page.waitForLoadState("networkidle");
  expect(asked.filter((path) => HEAVY.test(path))).toEqual([]);
  expect(page.workers()).toEqual([]);

  const named = await widget.locator("[part=sizes]").textContent();
  await load(widget).click();
  await expect(widget.locator("[part=progress]")).toBeVisible();
  await expect
    .poll(() => events.at(-1)?.type, { timeout: LOADED_MS + ANSWERED_MS })
    .toMatch(/^(done|error)$/);
  expect(events.filter(({ type }) => type === "error")).toEqual([]);
  const kinds = events.map(({ type }) => type).filter((type, nth, all) => type !== all[nth - 1]);
  expect(kinds).toEqual(["progress", "load", "token", "done"]);
  const { answers: given } = events.at(-1)?.detail as DoneDetail;
  expect(given.map(({ tokens }) => tokens.length)).toEqual([16, 16]);
  for (const [lane, { text }] of given.entries()) {
    await expect(answers(widget).nth(lane)).toHaveText(text);
    const told = events.filter(({ type, detail }) => type === "token" && laneOf(detail) === lane);
    expect(told.map(({ detail }) => (detail as { text: string }).text).join("")).toBe(text);
  }
  await expect(widget.locator("[part=speed]").first()).toHaveText(/\d tokens\/s$/);
  await expect(widget.locator("[part=label]")).toBeHidden();
  expect(named).toContain(`Model ${(modelBytes / 1e6).toFixed(2)} MB`);
  expect(violations).toEqual([]);
  await expectAccessible(page, "answered");

  // An answer can be stopped at its first word, and the box asks the next one.
  await widget.evaluate((element) => {
    element.setAttribute("max-tokens", "400");
    const stop = () =>
      element.shadowRoot?.querySelector<HTMLElement>("[part~=ask-button]")?.click();
    element.addEventListener("halfdepth-token", stop, { once: true });
  });
  const before = events.length;
  const box = widget.getByRole("textbox", { name: words.question });
  await box.fill("Tell me a long story.");
  await box.press("Enter");
  await expect(widget.locator("[part=question]")).toHaveText("Tell me a long story.");
  await expect
    .poll(() => events.slice(before).map(({ type }) => type), { timeout: ANSWERED_MS })
    .toContain("done");
  expect((events.at(-1)?.detail as DoneDetail).answers.map(({ finish }) => finish)).toContain(
    "stopped",
  );
});

function laneOf(detail: unknown): number {
  return (detail as { lane: number }).lane;
}

test("two widgets on one page share one engine; taken away they free it, and put back they work", async ({
  page,
  site,
}) => {
  await page.goto(`${site.url}examples/two-widgets.html`);
  const [first, second] = [page.locator("#first"), page.locator("#second")];
  const ask = (widget: Locator) =>
    widget.evaluate(async (element) =>
      (element as unknown as { ask(): Promise<DoneDetail | null> }).ask(),
    );
  await expect(load(second)).toBeVisible();
  const both = await Promise.all([ask(first), ask(second)]);
  expect(both.map((done) => done?.answers.map(({ tokens }) => tokens.length > 0))).toEqual([
    [true, true],
    [true, true],
  ]);
  expect(page.workers()).toHaveLength(1);

  // Moved within the page, it keeps what it has.
  await first.evaluate((element) => {
    element.parentElement?.append(element);
  });
  await expect(first.getByRole("button", { name: words.ask })).toBeVisible();
  await first.evaluate((element) => {
    element.remove();
  });
  expect(page.workers()).toHaveLength(1);
  await expect(second.getByRole("button", { name: words.ask })).toBeVisible();
  await second.evaluate((element) => {
    (window as unknown as { kept: Element }).kept = element;
    element.remove();
  });
  await expect.poll(() => page.workers().length).toBe(0);

  await page.evaluate(() => {
    document.querySelector("main")?.append((window as unknown as { kept: Element }).kept);
  });
  await expect(load(second)).toBeVisible();
  // What it said is still there.
  await expect(answers(second).first()).toHaveText(both[1]?.answers[0].text ?? "");
  await load(second).click();
  await expect(second.getByRole("button", { name: words.ask })).toBeVisible({
    timeout: LOADED_MS + ANSWERED_MS,
  });
  await expect(answers(second).nth(1)).toHaveText(both[1]?.answers[1].text ?? "");
});

test("in a frame it speaks with its own parent alone, and only from an origin that the address allows", async ({
  page,
  site,
  dist,
}) => {
  const heard: { type: string; height?: number; detail?: DoneDetail }[] = [];
  await page.exposeFunction("heard", (data: { type: string }) => heard.push(data));
  await page.addInitScript(() => {
    if (window.parent !== window) return;
    addEventListener("message", ({ data }) => {
      (window as unknown as { heard: (data: unknown) => void }).heard(data);
    });
  });
  const violations = await watchPolicy(page);
  await page.goto(`${site.url}frame.html`);
  const open = async (parent: string) => {
    heard.length = 0;
    const query = new URLSearchParams({
      model: `./${PACK}`,
      "max-tokens": "8",
      prompt: "First.",
      parent,
    });
    await page.locator("iframe[title=frame]").evaluate((frame, src) => {
      (frame as HTMLIFrameElement).src = src;
    }, `${dist}embed.html?${query.toString()}`);
    await expect(
      load(page.frameLocator("iframe[title=frame]").locator("half-depth")),
    ).toBeVisible();
  };
  const say = (data: unknown) =>
    page.locator("iframe[title=frame]").evaluate((frame, message) => {
      (frame as HTMLIFrameElement).contentWindow?.postMessage(message, "*");
    }, data);
  const asked = { target: "halfdepth", type: "ask", prompt: "Second." };
  const prompt = () =>
    page
      .frameLocator("iframe[title=frame]")
      .locator("half-depth")
      .evaluate((element) => element.getAttribute("prompt"));

  await open("https://somebody.example");
  await say(asked);
  // Time for a message to arrive, were it heard.
  await page.waitForTimeout(300);
  expect(await prompt()).toBe("First.");
  expect(heard).toEqual([]);

  await open(site.origin);
  await expect.poll(() => heard.map(({ type }) => type)).toContain("ready");
  await expect
    .poll(() => heard.filter(({ type }) => type === "resize").at(-1)?.height)
    .toBeGreaterThan(50);
  // From a window that is not the parent, though of an allowed origin.
  await page.evaluate((message) => {
    const other = document.createElement("iframe");
    document.body.append(other);
    const script = other.contentDocument?.createElement("script");
    if (script === undefined) throw new Error("the other frame has no document");
    script.textContent = `parent.frames[0].postMessage(${JSON.stringify(message)}, "*")`;
    other.contentDocument?.body.append(script);
  }, asked);
  await say({ ...asked, prompt: 5 });
  await say("ask");
  await page.waitForTimeout(300);
  expect(await prompt()).toBe("First.");

  await say(asked);
  await expect.poll(prompt).toBe("Second.");
  expect(page.workers()).toEqual([]);
  await load(page.frameLocator("iframe[title=frame]").locator("half-depth")).click();
  await expect
    .poll(() => heard.find(({ type }) => /^(done|error)$/.test(type))?.type, {
      timeout: LOADED_MS + ANSWERED_MS,
    })
    .toBe("done");
  expect(heard.find(({ type }) => type === "done")?.detail?.prompt).toBe("Second.");
  await say({ ...asked, prompt: "Third." });
  await expect
    .poll(() => heard.filter(({ type }) => type === "done").at(-1)?.detail?.prompt, {
      timeout: ANSWERED_MS,
    })
    .toBe("Third.");
  // The frame's own policy is the page's: it ran everything.
  expect(violations).toEqual([]);
});

test("the example with a frame resizes it", async ({ page, site }) => {
  await page.emulateMedia({ reducedMotion: "reduce" });
  await page.goto(`${site.url}examples/iframe.html`);
  const widget = page.frameLocator("iframe").locator("half-depth");
  await expect(load(widget)).toBeVisible();
  const height = await widget.evaluate((element) => (element as HTMLElement).offsetHeight);
  await expect
    .poll(() => page.locator("iframe").evaluate((frame) => (frame as HTMLElement).offsetHeight))
    .toBe(height);
  await page.getByRole("button", { name: "Ask about the rain" }).click();
  await expect
    .poll(() => widget.evaluate((element) => element.getAttribute("prompt")))
    .toBe("What do you do when it rains?");
});

for (const [what, hide] of [
  ["without WebGPU", () => Reflect.deleteProperty(Navigator.prototype, "gpu")],
  [
    "without a GPU to give",
    () => {
      Object.defineProperty(GPU.prototype, "requestAdapter", {
        value: () => Promise.resolve(null),
      });
    },
  ],
] as const) {
  test(`${what} the recorded answers are shown, and no button that cannot work`, async ({
    page,
    site,
  }) => {
    const asked = watchRequests(page);
    await page.addInitScript(hide);
    await page.goto(`${site.url}post.html`);
    const widget = page.locator("half-depth");
    await expect(widget.locator("[part=note]")).toHaveText(words.noGpu);
    await expect(answers(widget).first()).toContainText("Once upon a time");
    await expect(widget.getByRole("button")).toHaveText([/Replay|replay/]);
    await page.goto(`${site.url}bare.html`);
    await expect(widget.locator("[part=note]")).toHaveText(words.noGpu);
    await expect(page.getByText("As text.")).toBeVisible();
    await expect(widget.getByRole("button")).toHaveCount(0);
    await page.waitForLoadState("networkidle");
    expect(asked.filter((path) => HEAVY.test(path))).toEqual([]);
  });
}

test("without JavaScript the element's own content is there", async ({ browser, site }) => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(`${site.url}post.html`);
  await expect(page.getByText("As text.")).toBeVisible();
  await context.close();
});

test("what cannot be loaded is said, and can be tried again", async ({ page, site }) => {
  await page.goto(`${site.url}nothing.html`);
  const widget = page.locator("half-depth");
  await expect(widget.locator("[part=note]")).toHaveText(words.noModel);
  await expect(widget.getByRole("button")).toHaveCount(0);
  await page.route("**/manifest.json", (route) => route.fulfill({ status: 404 }));
  await page.goto(`${site.url}bare.html`);
  await expect(widget.locator("[part=note]")).toContainText("cannot be read");
  await page.unroute("**/manifest.json");
  await widget.getByRole("button", { name: words.again }).click();
  await expect(load(widget)).toHaveText(/MB$/);
  await page.route("**/assets/lanes-*", (route) => route.abort());
  await load(widget).click();
  await expect(widget.locator("[part=note]")).toHaveText(words.chunk);
});

test("it is readable at 320 px and on a desktop, light and dark, and axe finds nothing", async ({
  page,
  site,
}, info) => {
  await page.goto(`${site.url}examples/plain-widget.html`);
  const widget = page.locator("half-depth");
  // The replay comes by itself once, and can be ended.
  await widget.getByRole("button", { name: words.endReplay }).click();
  await expect(
    widget.getByRole("group", { name: laneWords.region(laneWords.full(12)) }),
  ).toBeVisible();
  await expect(load(widget)).toBeVisible();
  for (const width of [320, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    await expectNoSidewaysScroll(page);
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      const { violations } = await new AxeBuilder({ page }).analyze();
      const found = violations.map(
        ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`,
      );
      expect(found, `${width}, ${colorScheme}`).toEqual([]);
      const picture = await page.screenshot({ fullPage: true });
      await info.attach(`${width}-${colorScheme}`, { body: picture, contentType: "image/png" });
      const paper = await widget
        .locator("[part=frame]")
        .evaluate((frame) => getComputedStyle(frame).backgroundColor);
      expect(paper).toBe(colorScheme === "light" ? "rgb(255, 255, 255)" : "rgb(21, 32, 33)");
    }
  }
  await widget.evaluate((element) => {
    element.setAttribute("theme", "light");
    element.style.setProperty("--halfdepth-paper", "rgb(1, 2, 3)");
  });
  await expect(widget.locator("[part=frame]")).toHaveCSS("background-color", "rgb(1, 2, 3)");
});

test("the facade is at most 10 KB in gzip, in one file, and every script's hash is right", async ({
  request,
  dist,
}) => {
  const script = await (await request.get(`${dist}halfdepth.js`)).body();
  const bytes = gzipSync(script, { level: 9 }).length;
  console.log(`the widget's facade: ${bytes} bytes in gzip`);
  expect(bytes).toBeGreaterThan(2000);
  expect(bytes).toBeLessThanOrEqual(10_000);
  expect(script.toString()).not.toMatch(/(^|[;}])import[^(]/);
  const hashes = (await (await request.get(`${dist}sri.json`)).json()) as Record<string, string>;
  expect(Object.keys(hashes)).toEqual(
    expect.arrayContaining(["halfdepth.js", "halfdepth-library.js"]),
  );
  for (const [path, hash] of Object.entries(hashes)) {
    const body = await (await request.get(`${dist}${path}`)).body();
    const digest = await crypto.subtle.digest("SHA-384", new Uint8Array(body));
    expect(`sha384-${Buffer.from(digest).toString("base64")}`, path).toBe(hash);
  }
});
