// Standard Gumbel noise from a random word: -ln(e), where e = -ln(1 - u) is exponential and u uniform in (0, 1).
//
// The largest of 128k draws comes from the smallest u. So u keeps its precision towards 0, and where a device's ln may
// be off by 2^-21 outright, near 1, the series of atanh stands in for it.
fn gumbel(word: u32) -> f32 {
    var e: f32;
    if word < 0x40000000u {
        let u = (f32(word) + 0.5) * 0x1p-32f;
        // -ln(1 - u) = 2 atanh(z). z <= 1/7: the first term left out is below 1e-9 of the sum.
        let z = u / (2.0 - u);
        let z2 = z * z;
        e = 2.0 * z * (1.0 + z2 * (1.0 / 3.0 + z2 * (1.0 / 5.0 + z2 * (1.0 / 7.0 + z2 * (1.0 / 9.0)))));
    } else {
        // 1 - u from the word's complement: exact, and never 0.
        e = -log((f32(~word) + 0.5) * 0x1p-32f);
    }
    return -log(e);
}
