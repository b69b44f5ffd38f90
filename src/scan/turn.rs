//! In: the residual stream at two depths. Out: the angle between, summed in f64: for neighbouring layers the cosine is so close
//! to 1 that the sums of f32, let alone f16, would show more of their rounding than of the angle.

/// cos(a, b). A zero vector has no direction: it counts as unturned beside another zero, as perpendicular to all else.
pub(super) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let (mut dot, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (f64::from(*a), f64::from(*b));
        dot += a * b;
        aa += a * a;
        bb += b * b;
    }
    if aa == 0.0 || bb == 0.0 {
        return if aa == bb { 1.0 } else { 0.0 };
    }
    // One root of the product, not a product of roots: of equal vectors the cosine is exactly 1.
    (dot / (aa * bb).sqrt()).clamp(-1.0, 1.0)
}

/// The angle in units of pi: 0 same direction, 1/2 perpendicular, 1 opposite.
pub(super) fn angular_distance(a: &[f32], b: &[f32]) -> f64 {
    cosine(a, b).acos() / std::f64::consts::PI
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_are_in_units_of_pi_and_exact_where_vectors_are_equal() {
        let rows: [(&[f32], &[f32], f64); 6] = [
            (&[0.1, -0.7, 3e-3], &[0.1, -0.7, 3e-3], 0.0),
            (&[1.0, 0.0], &[0.0, 2.0], 0.5),
            (&[1.0, 2.0], &[-2.0, -4.0], 1.0),
            (&[1.0, 0.0], &[1.0, 1.0], 0.25),
            (&[0.0, 0.0], &[0.0, 0.0], 0.0),
            (&[0.0, 0.0], &[1.0, 0.0], 0.5),
        ];
        for (a, b, expected) in rows {
            let found = angular_distance(a, b);
            assert!((found - expected).abs() < 1e-15, "{a:?} {b:?}: {found}");
        }
    }
}
