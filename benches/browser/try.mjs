import { launch } from "./launch.mjs"; import { serve } from "./serve.mjs";
const [,, adapter, name, settings] = process.argv;
const s = await serve({"/bench/": import.meta.dirname, "/peers/": "/tmp/peers/node_modules", "/models/": "/tmp/peers/m"});
const { browser, page } = await launch(adapter);
page.on("console", m => console.log("page:", m.text().slice(0, 300))); page.on("pageerror", e => console.log("pageerror", e.message));
try {
await page.goto(`${s.url}/bench/engine.html?engine=${name}`);
await page.waitForFunction(() => globalThis.engine);
if (process.env.THREADS) await page.evaluate((n) => { globalThis.THREADS = n; }, Number(process.env.THREADS));
if (process.env.TEXT) await page.evaluate(() => { globalThis.TEXT = true; });
console.log(await page.evaluate(() => [crossOriginIsolated, !!navigator.gpu, navigator.hardwareConcurrency]));
console.log(await page.evaluate(x => engine.load(x), JSON.parse(settings)));
const counts = async () => JSON.stringify([await page.evaluate(() => globalThis.webgpuLog?.counts ?? null), await page.workers()[0]?.evaluate(() => globalThis.webgpuLog?.counts ?? null)]);
if (process.env.COUNT) console.log(await counts());
for (const [n, t] of [[16, 8],[64, 2], [256, 2], [64, 16]]) {
  const ids = Array.from({length: n}, () => 100 + Math.floor(Math.random() * 40000));
  const t0 = Date.now();
  const r = await page.evaluate(x => engine.run(x), { ids, newTokens: t });
  const T = r.tokenTimesMs;
  console.log(n, t, T.length, "prefill tok/s", (n / T[0] * 1000).toFixed(2), "decode tok/s", ((T.length - 1) / (T.at(-1) - T[0]) * 1000).toFixed(3), JSON.stringify(r.own ?? {}), (Date.now()-t0)/1000, process.env.COUNT ? await counts() : "");
}
} finally { await browser.close(); s.close(); }
