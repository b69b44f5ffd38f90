// The kernels that suited a device, kept from one visit to the next. A name that is no longer known is refused by the engine and
// found anew, so nothing here has to be trusted.
import type { Adapter, PackInfo } from "./engine";

const CACHE = "halfdepth-kernels-1";

/** One device and one shape of a model: another may want other kernels. */
export function kernelKey(adapter: Adapter, pack: PackInfo): string {
  const { vendor, architecture, device, description } = adapter;
  const parts = [vendor, architecture, device, description, pack.hiddenSize, pack.layers];
  // An address that no server answers: the cache only compares it.
  return `https://kernels.invalid/${parts.map((part) => encodeURIComponent(part)).join("/")}`;
}

export async function recall(
  storage: CacheStorage | undefined,
  key: string,
): Promise<string | undefined> {
  try {
    const cache = await storage?.open(CACHE);
    const response = await cache?.match(key);
    return await response?.text();
  } catch {
    // A browser that stores nothing here (a private window, say) only costs the trial.
    return undefined;
  }
}

export async function remember(
  storage: CacheStorage | undefined,
  key: string,
  variant: string,
): Promise<void> {
  try {
    const cache = await storage?.open(CACHE);
    await cache?.put(key, new Response(variant));
  } catch {
    // As above.
  }
}
