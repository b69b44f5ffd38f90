// Drives the built page in the system's Chromium: `cargo xtask test browser` builds it, serves it and names both.
import { defineConfig } from "@playwright/test";
import { chromiumFlags } from "./tests/browser/webgpu-counts.mjs";

export default defineConfig({
  testDir: "tests/browser",
  // One page at a time: a software GPU runs on the same cores as the page.
  workers: 1,
  forbidOnly: process.env.CI !== undefined,
  // It compiles shaders for minutes, and then writes a few tokens a second.
  timeout: 600_000,
  expect: { timeout: 120_000 },
  outputDir: "test-results",
  use: {
    baseURL: process.env.HALFDEPTH_URL ?? "http://127.0.0.1:8080/",
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: chromiumFlags,
    },
  },
});
