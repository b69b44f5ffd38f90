// Whatever comes from outside stays text: no element, no script and no request comes of it.
import { expect, type Frame, type Page } from "@playwright/test";
import builtIn from "../../www/recorded.json" with { type: "json" };
import type { Answer } from "../../www/turns";
import { strings } from "../../www/strings";
import { answered, idle, LOADED_MS, test } from "./page";

test.describe.configure({ timeout: 3 * LOADED_MS });

/** Each would set `window.attacked`, or fetch from attacker.invalid, if it became what it looks like. */
const ATTACKS = [
  `<script>attacked=1</script>`,
  `<img src=x onerror=attacked=1>`,
  `<img src="https://attacker.invalid/1.png">`,
  `<svg/onload=attacked=1>`,
  `<svg><script>attacked=1</script></svg>`,
  `<iframe srcdoc="<script>parent.attacked=1</script>"></iframe>`,
  `<iframe src="javascript:parent.attacked=1"></iframe>`,
  `<object data="javascript:attacked=1"></object>`,
  `<a href="javascript:attacked=1" autofocus onfocus=attacked=1>x</a>`,
  `<details open ontoggle=attacked=1>x</details>`,
  `<math><mtext><table><mglyph><style><img src=x onerror=attacked=1>`,
  `<form><button formaction="javascript:attacked=1">x</button></form>`,
  `<link rel=stylesheet href="https://attacker.invalid/2.css">`,
  `<style>@import "https://attacker.invalid/3.css"; * { display: none }</style>`,
  `<base href="https://attacker.invalid/">`,
  `<meta http-equiv=refresh content="0;url=https://attacker.invalid/4">`,
  `<video><source onerror=attacked=1></video>`,
  `<hd-answer onclick=attacked=1></hd-answer>`,
  `"><img src=x onerror=attacked=1>`,
  `'-attacked-'\${attacked=1}{{attacked=1}}`,
  `</textarea></script><script>attacked=1</script>`,
  `<!--><img src=x onerror=attacked=1>-->`,
  `<![CDATA[<img src=x onerror=attacked=1>]]>`,
  `<noscript><p title="</noscript><img src=x onerror=attacked=1>">`,
  `&lt;img src=x onerror=attacked=1&gt;`,
  `[x](javascript:attacked=1)`,
  `[x](<javascript:attacked=1> "onmouseover=attacked=1")`,
  `[x](data:text/html;base64,PHNjcmlwdD5hdHRhY2tlZD0xPC9zY3JpcHQ+)`,
  `![x](https://attacker.invalid/5.png)`,
  `![x"onerror="attacked=1](x)`,
  `[x]: javascript:attacked=1\n[x]`,
  `<https://attacker.invalid/6> https://attacker.invalid/7`,
  "```<img src=x onerror=attacked=1>\n<img src=x onerror=attacked=1>\n```",
  "`<img src=x onerror=attacked=1>`",
  `| <img src=x onerror=attacked=1> | b |\n|---|---|\n| <script>attacked=1</script> | d |`,
  `# <img src=x onerror=attacked=1>\n- <svg onload=attacked=1>\n1. **<script>attacked=1</script>**`,
  `<p id=report>{}</p><p id=attacked name=attacked>`,
  `<script type="application/json" id="report">{}</script>`,
  `\u0000<img src=x onerror=attacked=1>\uFFFD`,
  `\u202E<img src=x onerror=attacked=1>`,
];

declare global {
  interface Window {
    attacked?: unknown;
  }
}

/** What only an attack could have put on the page. */
const FOREIGN =
  "img, svg, iframe, object, embed, math, form[action], video, audio, source, link[href*=attacker], base, meta[http-equiv=refresh]," +
  "style, [onerror], [onload], [onfocus], [ontoggle], [onclick], [formaction], a[href^=javascript], a[href^=data], a[href^='https://attacker']," +
  "body script:not([type='application/json'])";

async function watch(page: Page): Promise<string[]> {
  const asked: string[] = [];
  page.on("request", (request) => {
    if (new URL(request.url()).hostname.includes("attacker")) asked.push(request.url());
  });
  page.on("dialog", (dialog) => {
    asked.push(dialog.message());
    void dialog.dismiss();
  });
  await page.addInitScript(() => {
    window.attacked = 0;
  });
  return asked;
}

/** Looks through every shadow root. */
async function expectUnharmed(page: Page | Frame, asked: string[], what: string): Promise<void> {
  const found = await page.evaluate((selector) => {
    const inside = (root: ParentNode): string[] => [
      ...[...root.querySelectorAll(selector)].map((element) => element.outerHTML.slice(0, 200)),
      ...[...root.querySelectorAll("*")].flatMap(({ shadowRoot }) =>
        shadowRoot === null ? [] : inside(shadowRoot),
      ),
    ];
    return { elements: inside(document.body), attacked: window.attacked, base: document.baseURI };
  }, FOREIGN);
  expect(found, what).toEqual({ elements: [], attacked: 0, base: page.url() });
  expect(asked, what).toEqual([]);
}

test("the page runs under a policy that allows no inline script and no eval", async ({ page }) => {
  const violations: string[] = [];
  await page.exposeFunction("violated", (text: string) => violations.push(text));
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
      (window as unknown as { violated: (text: string) => void }).violated(
        `${violatedDirective} ${blockedURI}`,
      );
    });
  });
  await page.goto("./");
  await idle(page);
  const policy = await page
    .locator("meta[http-equiv=Content-Security-Policy]")
    .getAttribute("content");
  // To compile wasm is the only thing of the kind that it grants.
  expect(policy?.replace("'wasm-unsafe-eval'", "")).not.toContain("unsafe");
  expect(violations).toEqual([]);
});

test("what a model says never becomes markup, script or a request, half said or whole", async ({
  page,
}) => {
  const asked = await watch(page);
  await page.route(/\.bin$/, () => undefined);
  await page.goto("./");
  await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
  for (const attack of ATTACKS) {
    const shown = await page.evaluate(async (text) => {
      const plan = {
        ...{ name: "p", title: text, layers: [0], replaced: [], crossEntropy: null },
        ...{ figures: [], weightBytesPerToken: 1 },
      };
      const make = (part: string): Answer => ({
        ...{ plan, state: "running", finish: null, text: part, tokens: [], pieces: [] },
        ...{ started: null, stats: null, error: { name: "ContextFull", message: text } },
      });
      const view = document.createElement("hd-answer");
      document.body.append(view);
      for (let end = 1; end <= text.length; end += 1) {
        view.answer = make(text.slice(0, end));
        view.heading = text;
        await view.updateComplete;
      }
      view.answer = { ...make(text), state: "done" };
      await view.updateComplete;
      const draft = document.createElement("hd-draft");
      const pieces = [{ text, tokens: 2, drafted: 1 }];
      draft.draft = { kind: "done", pieces, tokens: [1, 2], speculation: null };
      document.body.append(draft);
      await draft.updateComplete;
      return [view, draft].map(({ shadowRoot }) => shadowRoot?.textContent ?? "");
    }, attack);
    for (const text of shown) expect(text.length, attack).toBeGreaterThan(0);
    await expectUnharmed(page, asked, attack);
    await page.evaluate(() => {
      for (const view of document.querySelectorAll("body > hd-answer, body > hd-draft")) {
        view.remove();
      }
    });
  }
});

test("what a link asks never becomes markup or script", async ({ page }) => {
  const asked = await watch(page);
  // The links are read and shown; no engine is started for each.
  await page.route(/\.(bin|wasm)$/, () => undefined);
  for (const [nth, attack] of ATTACKS.entries()) {
    const text = encodeURIComponent(attack);
    // Every other one is asked, the others are refused.
    const asks = nth % 2 === 0 ? "" : `&stop=${text}&t=${text}`;
    await page.goto(
      `./?model=${text}&plans=${encodeURIComponent(attack.slice(0, 64))}#ask=1&q=${text}&system=${text}${asks}`,
    );
    await expect(page.locator("hd-notice div"), attack).toBeVisible();
    await expectUnharmed(page, asked, attack);
  }
});

test("a prompt and a pack's names never become markup or script", async ({ page }) => {
  const asked = await watch(page);
  const all = ATTACKS.join("\n");
  await page.route(/halfdepth-stories-12L\/manifest\.json$/, async (route) => {
    const response = await route.fetch();
    const manifest = (await response.json()) as {
      name: string;
      source: { name: string; licence: string };
      plans: { name: string; title: string }[];
    };
    manifest.name = ATTACKS[1] ?? "";
    manifest.source = { ...manifest.source, name: ATTACKS[3] ?? "", licence: ATTACKS[8] ?? "" };
    for (const [index, plan] of manifest.plans.entries()) {
      plan.title = ATTACKS[index + 3] ?? "";
      plan.name = (ATTACKS[index] ?? "").slice(0, 64);
    }
    await route.fulfill({ response, json: manifest });
  });
  await page.goto(
    `./#ask=1&max=4&q=${encodeURIComponent(all.slice(0, 400))}&system=${encodeURIComponent("<img src=x onerror=attacked=1>")}`,
  );
  await answered(page);
  await expect(page.locator("hd-exchange .question")).toContainText(ATTACKS[0] ?? "");
  await expect(page.locator("hd-about")).toContainText(ATTACKS[3] ?? "");
  await expectUnharmed(page, asked, "names and prompt");
  await page.getByRole("button", { name: strings.share.link, exact: true }).click();
  await expectUnharmed(page, asked, "the link made of them");
});

/** A post on the page's own origin, with the widget's script and nothing else. */
async function openPost(page: Page): Promise<void> {
  await page.route("**/post.html", (route) =>
    route.fulfill({
      contentType: "text/html",
      body: `<!doctype html><title>A post</title><script type="module" src="./halfdepth.js"></script><main></main>`,
    }),
  );
  await page.goto("./post.html");
  await page.waitForFunction(() => customElements.get("half-depth") !== undefined);
}

/** A recording in which everything that is a text is the attack. */
function recordingOf(attack: string) {
  const [exchange] = structuredClone(builtIn.exchanges);
  const answers = exchange?.answers.map((answer) => ({
    ...answer,
    text: attack,
    plan: { ...answer.plan, name: attack, title: attack },
    pieces: [{ text: attack, timesMs: [1] }],
  }));
  return { ...builtIn, on: attack, exchanges: [{ ...exchange, question: attack, answers }] };
}

test("what stands in the widget's attributes, or in its recording, never becomes markup, script or a request", async ({
  page,
}) => {
  const asked = await watch(page);
  let recording: unknown;
  await page.route("**/recording.json", (route) => route.fulfill({ json: recording }));
  await openPost(page);
  for (const [nth, attack] of ATTACKS.entries()) {
    recording = recordingOf(attack);
    await page.evaluate(
      ({ text, recorded }) => {
        const widget = document.createElement("half-depth");
        const names = ["model", "prompt", "plans", "max-tokens", "temperature", "seed", "theme"];
        for (const name of names) widget.setAttribute(name, text);
        widget.setAttribute("recorded", recorded);
        document.querySelector("main")?.replaceChildren(widget);
      },
      // Every third one stands where the recording's own address should.
      { text: attack, recorded: nth % 3 === 2 ? attack : "./recording.json" },
    );
    const widget = page.locator("half-depth");
    if (nth % 3 === 2) await expect(widget.locator("[part=note]"), attack).not.toBeEmpty();
    else await expect(widget.locator("[part=verdict]"), attack).toBeVisible();
    const shown = await widget.evaluate(
      ({ shadowRoot }) => shadowRoot?.querySelector("[part=question]")?.textContent,
    );
    expect(shown, attack).toBe(nth % 3 === 2 ? "" : attack);
    await expectUnharmed(page, asked, attack);
  }
});

test("what the widget's lanes say never becomes markup or script", async ({ page }) => {
  const asked = await watch(page);
  await page.addInitScript(`window.texts = ${JSON.stringify(ATTACKS)}`);
  // In place of the engine: lanes that say whatever they like.
  await page.route("**/assets/lanes-*.js", (route) =>
    route.fulfill({
      contentType: "text/javascript",
      body: `export async function open({ onShown, onSpoken }) {
        const say = (text) => {
          const lane = { kept: [0], isHealed: true, text, pieces: [{ text, timesMs: [1] }], tokensPerSecond: 1, state: "writing", note: text };
          onShown({ question: text, layers: 2, verdict: text, lanes: [lane, lane] });
          onSpoken([text]);
        };
        const none = () => undefined;
        return { loaded: {}, running: false, lost: false, stop: none, close: none, ask: async ({ prompt }) => { say(prompt); throw new Error(prompt); } };
      }`,
    }),
  );
  await openPost(page);
  await page.evaluate(() => {
    const widget = document.createElement("half-depth");
    widget.setAttribute("model", "./models/halfdepth-stories-12L/");
    document.querySelector("main")?.append(widget);
  });
  for (const attack of ATTACKS) {
    await page.evaluate(async (text) => {
      const widget = document.querySelector("half-depth") as unknown as {
        ask(text: string): Promise<unknown>;
      };
      await widget.ask(text);
    }, attack);
    await expect(page.locator("half-depth [part=verdict]"), attack).toBeVisible();
    await expectUnharmed(page, asked, attack);
  }
});

test("what a frame's address and its parent's messages carry never becomes markup, script or a command", async ({
  page,
}) => {
  const asked = await watch(page);
  await page.route("**/around.html", (route) =>
    route.fulfill({
      contentType: "text/html",
      body: `<!doctype html><title>Around</title><iframe title="frame"></iframe>`,
    }),
  );
  await page.goto("./around.html");
  const { origin } = new URL(page.url());
  for (const attack of ATTACKS) {
    const query = new URLSearchParams();
    for (const name of ["model", "prompt", "plans", "recorded", "theme", "seed", "max-tokens"]) {
      query.append(name, attack);
    }
    for (const parent of [attack, origin]) query.append("parent", parent);
    const address = `./embed.html?${query.toString()}`;
    await page.locator("iframe").evaluate((frame, src) => {
      (frame as HTMLIFrameElement).src = src;
    }, address);
    const widget = page.frameLocator("iframe").locator("half-depth");
    await expect(widget.locator("[part=note]"), attack).not.toBeEmpty();
    const send = () =>
      page.locator("iframe").evaluate((frame, text) => {
        const { contentWindow, contentDocument } = frame as HTMLIFrameElement;
        const target = "halfdepth";
        for (const message of [
          text,
          { target, type: text, prompt: text },
          { target: text, type: "ask", prompt: "refused" },
          { target, type: "ask", prompt: { toString: text } },
          { target, type: "ask", prompt: `asked ${text}` },
          { target, type: "model", model: text },
          { constructor: text, type: "stop" },
        ]) {
          contentWindow?.postMessage(message, "*");
        }
        return contentDocument?.querySelector("half-depth")?.getAttribute("prompt");
      }, attack);
    // The only message that is one of ours is the only one that does anything.
    await expect.poll(send, { message: attack }).toBe(`asked ${attack}`);
    const frame = page.frames()[1];
    if (frame === undefined) throw new Error("the frame is gone");
    await expectUnharmed(frame, asked, attack);
  }
});
