// Told before anything is downloaded.
import { HalfdepthError } from "../protocol";
import { strings } from "../strings";

export function refuseWithoutWebGpu(): void {
  const { gpu } = navigator as { gpu?: unknown };
  if (gpu !== undefined) return;
  const { webgpuMissing, webgpuInsecure } = strings.errors;
  throw new HalfdepthError("WebGpuUnavailable", isSecureContext ? webgpuMissing : webgpuInsecure);
}
