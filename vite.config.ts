// Builds index.html, budget.html, embed.html and www/ into dist/, which works from any sub-path of any static host. www/build/site.mjs runs it,
// and adds the widget's facade.
import { fileURLToPath } from "node:url";
import { engineBytes } from "./www/build/engine-bytes.mjs";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

/** What the published page may do. Packs may lie on any host; the engine is compiled from wasm; charts and pictures are blobs. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "connect-src 'self' https: http:",
  "style-src 'self'",
  "img-src 'self' blob:",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

/** Only in the build: the development server reloads through inline scripts. */
function contentSecurityPolicy(): Plugin {
  const content = POLICY;
  return {
    name: "content-security-policy",
    apply: "build",
    transformIndexHtml: () => [
      {
        tag: "meta",
        attrs: { "http-equiv": "Content-Security-Policy", content },
        injectTo: "head-prepend",
      },
    ],
  };
}

const local = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  plugins: [contentSecurityPolicy()],
  base: "./",
  publicDir: false,
  define: { __ENGINE_BYTES__: String(engineBytes()) },
  resolve: {
    alias: {
      // Made by `cargo xtask site`; the types the page sees are www/engine.d.ts.
      "halfdepth-engine": local("www/wasm/halfdepth_wasm.js"),
    },
  },
  worker: { format: "es" },
  build: {
    target: "es2022",
    // No file becomes a data: URL, so that a strict content security policy can stand.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: {
        index: local("index.html"),
        budget: local("budget.html"),
        embed: local("embed.html"),
        // What halfdepth.js loads once it is clicked.
        lanes: local("www/widget/lanes.ts"),
        "halfdepth-library": local("www/library/index.ts"),
      },
      preserveEntrySignatures: "exports-only",
      output: {
        // Pages elsewhere name the library; everything else is found through what names it.
        entryFileNames: ({ name }) =>
          name === "halfdepth-library" ? "[name].js" : "assets/[name]-[hash].js",
      },
    },
  },
  test: {
    include: ["tests/unit/**/*.test.ts"],
    environment: "node",
  },
});
