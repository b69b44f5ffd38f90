//! In: a seed, a position and an id. Out: the Gumbel noise that they always give. The twin of `shaders/shared/gumbel.wgsl`
//! and `philox.wgsl`.
//!
//! argmax(logits / T + noise) is a draw from softmax(logits / T), exactly (the Gumbel-max trick), and finding it needs no
//! sum, no sort and no second pass.

/// Philox4x32-10, a counter-based generator: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3".
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    let product = |a: u32, b: u32| {
        let product = u64::from(a) * u64::from(b);
        ((product >> 32) as u32, product as u32)
    };
    for _ in 0..10 {
        let (high_0, low_0) = product(0xd251_1f53, counter[0]);
        let (high_1, low_1) = product(0xcd9e_8d57, counter[2]);
        counter = [
            high_1 ^ counter[1] ^ key[0],
            low_1,
            high_0 ^ counter[3] ^ key[1],
            low_0,
        ];
        key[0] = key[0].wrapping_add(0x9e37_79b9);
        key[1] = key[1].wrapping_add(0xbb67_ae85);
    }
    counter
}

/// Standard Gumbel noise from a random word; the shader says why in these steps.
pub fn gumbel(word: u32) -> f32 {
    const UNIT: f32 = 1.0 / (1u64 << 32) as f32;
    let exponential = if word < 1 << 30 {
        let u = (word as f32 + 0.5) * UNIT;
        let z = u / (2.0 - u);
        let z2 = z * z;
        2.0 * z * (1.0 + z2 * (1.0 / 3.0 + z2 * (1.0 / 5.0 + z2 * (1.0 / 7.0 + z2 * (1.0 / 9.0)))))
    } else {
        -((!word as f32 + 0.5) * UNIT).ln()
    };
    -exponential.ln()
}

/// The noise of four consecutive ids, the first of them `4 * quad`.
pub(crate) fn quad_noise(quad: usize, position: u32, seed: [u32; 2]) -> [f32; 4] {
    philox([quad as u32, position, 0, 0], seed).map(gumbel)
}
