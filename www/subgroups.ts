// Has every WebGPU device that is asked for here ask for subgroups too, where the adapter offers them: wgpu does not know the
// feature in browsers yet (gfx-rs/wgpu issue 10146), but hands our shaders to the browser as they are.

declare global {
  /** Set once devices ask for subgroups: the engine then uses them. */
  var halfdepthSubgroups: boolean | undefined;
}

export function askForSubgroups(): void {
  if (globalThis.halfdepthSubgroups === true || typeof GPUAdapter === "undefined") return;
  const requestDevice = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = function (descriptor) {
    if (!this.features.has("subgroups")) return requestDevice.call(this, descriptor);
    const features = new Set<GPUFeatureName>(descriptor?.requiredFeatures).add("subgroups");
    return requestDevice.call(this, { ...descriptor, requiredFeatures: [...features] });
  };
  globalThis.halfdepthSubgroups = true;
}
