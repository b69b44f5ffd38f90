// What the article and the paper behind it (arXiv 2403.17887) claim of Llama-2-70B, and what the reckoning says to it. As
// src/budget/article.rs.
import { budget, flopsPerToken } from "./reckon";
import { LLAMA_2_70B } from "./shapes";
import { F16, FOUR_BITS, Q4_0, type Storage } from "./storage";

/** Full depth in 16 bits, and half depth in 4. */
export interface Claim {
  claimed: [full: number, half: number];
  reckoned: [full: number, half: number];
}

export interface Claims {
  bytes: Claim;
  /** Half depth at the 4.5 bits of formats in use. */
  usualHalfBytes: number;
  /** Of the half, for its whole context in 16 bits. */
  cacheBytes: number;
  flops: Claim;
}

export function articleClaims(): Claims {
  const { shape } = LLAMA_2_70B;
  const half = shape.layers / 2;
  const of = (layers: number, storage: Storage) =>
    budget({ shape, layers, storage, context: shape.context });
  const usual = of(half, Q4_0);
  return {
    bytes: {
      claimed: [140e9, 17.5e9],
      reckoned: [of(shape.layers, F16).weightBytes, of(half, FOUR_BITS).weightBytes],
    },
    usualHalfBytes: usual.weightBytes,
    cacheBytes: usual.cacheBytes,
    flops: {
      claimed: [3e10, 1.5e10],
      reckoned: [flopsPerToken(shape, shape.layers, 0), flopsPerToken(shape, half, 0)],
    },
  };
}
