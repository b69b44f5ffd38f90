// Every shader variant through the browser's own compiler: `cargo test --test kernels` leaves the texts that run.
import { readFileSync } from "node:fs";
import { expect, test } from "@playwright/test";

interface Variant {
  label: string;
  wgsl: string;
  subgroups: boolean;
}

const folder = process.env.HALFDEPTH_TEST_FILES ?? "target/tmp";

test("every shader variant compiles", async ({ page }) => {
  const variants = JSON.parse(readFileSync(`${folder}/shaders.json`, "utf8")) as Variant[];
  expect(variants.length).toBeGreaterThan(50);
  await page.goto("./");
  const { subgroups, complaints } = await page.evaluate(async (variants) => {
    const adapter = await navigator.gpu.requestAdapter();
    if (adapter === null) throw new Error("no WebGPU adapter");
    const subgroups = adapter.features.has("subgroups");
    const device = await adapter.requestDevice({
      requiredFeatures: subgroups ? ["subgroups"] : [],
    });
    const complaints: { variant: string; subgroups: boolean; message: string }[] = [];
    for (const { label, wgsl, subgroups } of variants) {
      const { messages } = await device.createShaderModule({ code: wgsl }).getCompilationInfo();
      for (const { type, lineNum, message } of messages) {
        const text = `${type} in line ${String(lineNum)}: ${message}`;
        complaints.push({ variant: label, subgroups, message: text });
      }
    }
    return { subgroups, complaints };
  }, variants);
  const exchanging = variants.filter((variant) => variant.subgroups);
  if (subgroups) {
    expect(complaints).toEqual([]);
    return;
  }
  // Without the feature nothing but its absence may be wrong; that these texts compute is seen natively.
  expect(complaints.filter(({ subgroups }) => !subgroups)).toEqual([]);
  expect(new Set(complaints.map(({ variant }) => variant)).size).toBe(exchanging.length);
  for (const { message } of complaints) {
    expect(message).toMatch(/extension 'subgroups' is not allowed/);
  }
  console.log(
    `${String(exchanging.length)} texts with subgroups are refused: this adapter has no such feature`,
  );
});
