// In: a browser. Out: the peak memory of its processes, as Linux counts it.
import { readFile } from "node:fs/promises";

/** Bytes of physical memory at the most: of the largest renderer, and of the GPU process. Null where the system does not tell. */
export async function peakMemory(browser) {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  const largest = async (type) => {
    const processes = processInfo.filter((process) => process.type === type);
    const peaks = await Promise.all(processes.map(({ id }) => peakOf(id)));
    return peaks.some((peak) => peak === null) || peaks.length === 0 ? null : Math.max(...peaks);
  };
  return { rendererBytes: await largest("renderer"), gpuProcessBytes: await largest("GPU") };
}

async function peakOf(id) {
  try {
    const status = await readFile(`/proc/${id}/status`, "utf8");
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)[1]) * 1024;
  } catch {
    return null;
  }
}
