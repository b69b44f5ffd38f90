// `npm run build [-- --outDir DIR --emptyOutDir]`: the page and the iframe's page (vite.config.ts), then the widget's facade as one
// file, a recording to show before the first click, and the hashes of every script.
import { createHash } from "node:crypto";
import { copyFile, readdir, readFile, writeFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { rolldown } from "rolldown";
import { build } from "vite";
import { engineBytes, SCRIPT_BYTES } from "./engine-bytes.mjs";

const local = (path) => fileURLToPath(new URL(path, import.meta.url));
const root = local("../..");
const { values: options } = parseArgs({
  options: {
    outDir: { type: "string", default: join(root, "dist") },
    emptyOutDir: { type: "boolean", default: true },
  },
});
const outDir = resolve(options.outDir);

const page = await build({
  ...{ root, configFile: join(root, "vite.config.ts") },
  build: { outDir, emptyOutDir: options.emptyOutDir },
});
const chunks = page.output.filter(({ type }) => type === "chunk");
const lanes = chunks.find(({ name, isEntry }) => name === "lanes" && isEntry);
if (lanes === undefined) throw new Error("the build made no lanes for the widget");
checkScripts(lanes);

// By itself, so that a post loads one file and no more: what it shares with the page is in it once again.
const facade = await rolldown({
  input: local("../widget/halfdepth.ts"),
  transform: { define: { __ENGINE_BYTES__: String(engineBytes()) }, target: "es2022" },
  external: ["./lanes"],
  plugins: [
    {
      name: "the-lanes-are-built",
      renderChunk: (code) => code.replace(/(["'`])\.\/lanes\1/, `"./${lanes.fileName}"`),
    },
  ],
});
await facade.write({ file: join(outDir, "halfdepth.js"), format: "esm", minify: true });

await copyFile(local("../recorded.json"), join(outDir, "recorded.json"));
await writeFile(join(outDir, "sri.json"), `${JSON.stringify(await integrity(), null, 2)}\n`);

/** The button says how much is loaded at most, so that has to be true. */
function checkScripts(entry) {
  const named = new Map(chunks.map((chunk) => [chunk.fileName, chunk]));
  const seen = new Set();
  const visit = ({ fileName, imports, dynamicImports }) => {
    if (seen.has(fileName)) return;
    seen.add(fileName);
    for (const name of [...imports, ...dynamicImports]) {
      if (named.has(name)) visit(named.get(name));
    }
  };
  visit(entry);
  const workers = page.output.filter(
    ({ type, fileName }) => type === "asset" && /(worker|halfdepth_wasm)[^/]*\.js$/.test(fileName),
  );
  const bytes =
    [...seen].reduce((sum, name) => sum + Buffer.byteLength(named.get(name).code), 0) +
    workers.reduce((sum, { source }) => sum + source.length, 0);
  if (workers.length === 0) throw new Error("the build made no worker");
  if (bytes > SCRIPT_BYTES) {
    throw new Error(`the widget's scripts are ${bytes} bytes: raise SCRIPT_BYTES, and look why`);
  }
}

/** SHA-384 of every script, as `integrity` wants it, by path. */
async function integrity() {
  const files = {};
  const entries = await readdir(outDir, { recursive: true, withFileTypes: true });
  const scripts = entries
    .filter((entry) => entry.isFile() && entry.name.endsWith(".js"))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !relative(outDir, path).startsWith("models"));
  for (const path of scripts.sort()) {
    const hash = createHash("sha384")
      .update(await readFile(path))
      .digest("base64");
    files[relative(outDir, path).replaceAll("\\", "/")] = `sha384-${hash}`;
  }
  return files;
}
