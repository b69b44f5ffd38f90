// `npm run package [-- --outDir DIR]`: the folder that `npm pack` and `npm publish` take. ESM as bundlers read it: not minified, the
// worker and the engine found by `new URL(…, import.meta.url)` beside the script that names them.
import { execFileSync } from "node:child_process";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { rolldown } from "rolldown";
import { engineBytes } from "./engine-bytes.mjs";

const local = (path) => fileURLToPath(new URL(path, import.meta.url));
const root = local("../..");
const { values: options } = parseArgs({
  options: { outDir: { type: "string", default: join(root, "dist-npm") } },
});
const outDir = resolve(options.outDir);

await rm(outDir, { recursive: true, force: true });
await mkdir(outDir, { recursive: true });
await notices(await bundle());
await types();
for (const file of ["LICENSE-APACHE", "LICENSE-MIT"])
  await cp(join(root, file), join(outDir, file));
for (const file of ["README.md", "custom-elements.json"]) {
  await cp(local(`../package/${file}`), join(outDir, file));
}
await cp(local("../recorded.json"), join(outDir, "recorded.json"));
await writeFile(join(outDir, "package.json"), `${JSON.stringify(await manifest(), null, 2)}\n`);

/** Gives the packages that came in. */
async function bundle() {
  const define = { __ENGINE_BYTES__: String(engineBytes()) };
  const library = await rolldown({
    input: { index: local("../library/index.ts"), widget: local("../widget/halfdepth.ts") },
    transform: { define, target: "es2022" },
    plugins: [
      {
        name: "the-worker-lies-beside",
        transform: (code, id) =>
          id.endsWith("/library/spawn.ts") || id.endsWith("\\library\\spawn.ts")
            ? code.replace('"../worker.ts"', '"./worker.js"')
            : null,
      },
    ],
  });
  const written = await library.write({
    ...{ dir: outDir, format: "esm", entryFileNames: "[name].js" },
    chunkFileNames: "[name]-[hash].js",
  });
  const engine = local("../wasm/halfdepth_wasm.js");
  const worker = await rolldown({
    input: local("../worker.ts"),
    // Its `paths` name the engine's types.
    tsconfig: false,
    transform: { target: "es2022" },
    resolve: { alias: { "halfdepth-engine": engine } },
  });
  // One file: bundlers that make a classic script of a worker cannot split it.
  const run = await worker.write({
    file: join(outDir, "worker.js"),
    format: "esm",
    codeSplitting: false,
  });
  const module = "halfdepth_wasm_bg.wasm";
  await cp(local(`../wasm/${module}`), join(outDir, module));
  const modules = [...written.output, ...run.output].flatMap(({ modules }) =>
    Object.keys(modules ?? {}),
  );
  const names = modules.map((id) => /node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+)/.exec(id)?.[1]);
  return new Set(names.filter((name) => name !== undefined));
}

/** What others wrote is here under their terms. */
async function notices(names) {
  const parts = [...names].sort().map(async (name) => {
    const folder = join(root, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).find((entry) => /^licen[sc]e/i.test(entry));
    if (file === undefined) throw new Error(`${name} comes without a licence`);
    const text = await readFile(join(folder, file), "utf8");
    return `## ${name} ${version} (${license})\n\n${text.trim()}\n`;
  });
  const all = (await Promise.all(parts)).join("\n");
  await writeFile(join(outDir, "THIRD-PARTY.md"), `# Code of others in this package\n\n${all}`);
}

async function types() {
  const folder = join(outDir, "types");
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  execFileSync(
    process.execPath,
    [tsc, "-p", local("../package/tsconfig.json"), "--outDir", folder],
    {
      stdio: "inherit",
    },
  );
  // Written by hand, so the compiler does not copy it.
  await cp(local("../engine.d.ts"), join(folder, "engine.d.ts"));
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const text = await readFile(path, "utf8");
    // Not every resolution of modules adds the ending.
    await writeFile(path, text.replace(/((?:from|import\()\s*"\.[^"]*?)(?:\.js)?"/g, '$1.js"'));
  }
}

async function manifest() {
  const { version, license } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  const entry = (name, folder) => ({ types: `./types/${folder}.d.ts`, default: `./${name}.js` });
  return {
    ...{ name: "halfdepth", version, license, type: "module" },
    description:
      "A Llama and its half-depth self, side by side in the browser: a widget for posts, and the engine as a library",
    keywords: ["webgpu", "llm", "llama", "prompt-api", "custom-element", "layer-pruning"],
    exports: {
      ".": entry("index", "library/index"),
      "./widget": entry("widget", "widget/halfdepth"),
      "./recorded.json": "./recorded.json",
      "./custom-elements.json": "./custom-elements.json",
      "./package.json": "./package.json",
    },
    // The widget defines its element when it is imported.
    sideEffects: ["./widget.js"],
    customElements: "custom-elements.json",
    files: ["*.js", "*.wasm", "*.json", "types", "LICENSE-*", "THIRD-PARTY.md"],
  };
}
