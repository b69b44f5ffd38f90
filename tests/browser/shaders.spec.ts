// Every shader variant through the browser's own compiler: `cargo test --test kernels` leaves the texts that run.
import { readFileSync } from "node:fs";
import { expect, test } from "@playwright/test";

interface Variant {
  label: string;
  wgsl: string;
}

const folder = process.env.HALFDEPTH_TEST_FILES ?? "target/tmp";

test("every shader variant compiles", async ({ page }) => {
  const variants = JSON.parse(readFileSync(`${folder}/shaders.json`, "utf8")) as Variant[];
  expect(variants.length).toBeGreaterThan(50);
  await page.goto("./");
  const complaints = await page.evaluate(async (variants) => {
    const adapter = await navigator.gpu.requestAdapter();
    const device = await adapter?.requestDevice();
    if (device === undefined) return ["no WebGPU device"];
    const complaints: string[] = [];
    for (const { label, wgsl } of variants) {
      const { messages } = await device.createShaderModule({ code: wgsl }).getCompilationInfo();
      for (const { type, lineNum, message } of messages) {
        complaints.push(`${label}: ${type} in line ${String(lineNum)}: ${message}`);
      }
    }
    return complaints;
  }, variants);
  expect(complaints).toEqual([]);
});
