// The colours of heat maps: viridis, which keeps its order for the colour-blind and in grey. As crates/cli/src/chart has it.

const STOPS = [
  [0x44, 0x01, 0x54],
  [0x47, 0x2d, 0x7b],
  [0x3b, 0x52, 0x8b],
  [0x2c, 0x72, 0x8e],
  [0x21, 0x91, 0x8c],
  [0x28, 0xae, 0x80],
  [0x5e, 0xc9, 0x62],
  [0xad, 0xdc, 0x30],
  [0xfd, 0xe7, 0x25],
] as const;

/** 0 the darkest, 1 the lightest. */
export function viridis(share: number): string {
  const at = Math.max(0, Math.min(1, share)) * (STOPS.length - 1);
  const low = Math.min(Math.floor(at), STOPS.length - 2);
  const mixed = [0, 1, 2].map((part) => {
    const [a, b] = [STOPS[low]?.[part] ?? 0, STOPS[low + 1]?.[part] ?? 0];
    return Math.round(a + (b - a) * (at - low));
  });
  return `#${mixed.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}
