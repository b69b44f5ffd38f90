//! In: the residual stream of samples' last tokens at every depth. Out: the mean angular distance of every block, as [`Measured`]
//! has it: for whoever has the streams already.
//!
//! [`Measured`]: super::Measured

use super::turn::angular_distance;

/// By n, from 1: for each l, the distance of the stream at depth l from that at depth l + n, in units of pi.
pub fn angles(streams: &[Vec<f32>]) -> Vec<Vec<f64>> {
    let blocks = (1..streams.len()).map(|n| {
        let pairs = streams.iter().zip(&streams[n..]);
        pairs.map(|(a, b)| angular_distance(a, b)).collect()
    });
    blocks.collect()
}
