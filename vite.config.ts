// Builds index.html and www/ into dist/, which works from any sub-path of any static host.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const local = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  base: "./",
  publicDir: false,
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
  },
  test: {
    include: ["tests/unit/**/*.test.ts"],
    environment: "node",
  },
});
