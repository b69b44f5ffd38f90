// Starts the browser to measure in. In: which adapter. Out: a page of its own browser, with its WebGPU calls counted.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { dirname, join } from "node:path";
import { env } from "node:process";
import { chromium } from "playwright-core";
import { chromiumFlags, countWebGpu } from "../../tests/browser/webgpu-counts.mjs";

const counter = fileURLToPath(new URL("../../tests/browser/count-webgpu.js", import.meta.url));

// A sandboxed GPU process may not load a driver of the system's.
const lavapipeFlags = [
  "--ignore-gpu-blocklist",
  "--disable-gpu-sandbox",
  "--use-webgpu-adapter=default",
  "--use-gl=angle",
  "--use-angle=gl-egl",
  "--disable-dev-shm-usage",
];

/** One engine, one browser: the memory of its processes is that engine's. */
export async function launch(adapter) {
  const { executablePath, args, environment } = adapters[adapter]();
  const browser = await chromium.launch({
    executablePath,
    headless: true,
    args: [...chromiumFlags, ...args],
    env: { ...env, ...environment },
    timeout: 60_000,
  });
  // The counters reach workers through a blob, which a strict content security policy would refuse.
  const context = await browser.newContext({ bypassCSP: true });
  await countWebGpu(context);
  // One of the peers computes on the page itself.
  await context.addInitScript({ path: counter });
  return { browser, page: await context.newPage() };
}

const adapters = {
  stock: () => ({
    executablePath: env.CHROMIUM ?? "/usr/bin/chromium",
    args: [],
    environment: {},
  }),
  lavapipe: () => {
    const executablePath = env.CHROMIUM_LAVAPIPE;
    const wanted = "a Chromium whose WebGPU runs on lavapipe, with its spoof.json two folders up";
    if (executablePath === undefined)
      throw new Error(`CHROMIUM_LAVAPIPE is not set: set it to the path of ${wanted}`);
    const layers = dirname(dirname(executablePath));
    if (!existsSync(executablePath) || !existsSync(join(layers, "spoof.json")))
      throw new Error(`CHROMIUM_LAVAPIPE=${executablePath} is not ${wanted}`);
    return {
      executablePath,
      args: lavapipeFlags,
      environment: {
        VK_ICD_FILENAMES: "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json",
        VK_LAYER_PATH: layers,
        VK_INSTANCE_LAYERS: "VK_LAYER_lavapipe_as_swiftshader",
        // The driver says 128 MiB; storage buffers of 1 GiB work.
        SPOOF_MAX_STORAGE: "0x40000000",
      },
    };
  },
};
