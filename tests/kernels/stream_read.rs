//! `stream_read`, and the bandwidth that is measured with it.

use std::time::Instant;

use halfdepth::decode::read_bandwidth;
use halfdepth::kernels::stream_read::{SUMS, VECTOR, stream_read};
use pollster::block_on;

use crate::model::devices;
use crate::support::{read_words, words};

#[test]
fn every_word_is_read_once() {
    // Fewer vectors than threads, as many, and a last round that is not full.
    for vectors in [1, 3, SUMS - 1, SUMS, SUMS + 1, 2 * SUMS + 77] {
        let data: Vec<u32> = (0..(vectors * VECTOR) as u32)
            .map(|at| at.wrapping_mul(0x9e37_79b9) ^ (at >> 3))
            .collect();
        let mut expected = vec![0_u32; SUMS];
        for (at, word) in data.iter().enumerate() {
            let sum = &mut expected[at / VECTOR % SUMS];
            *sum = sum.wrapping_add(*word);
        }
        for (name, device) in devices() {
            // What was there before does not show.
            let sums = words(vec![7; SUMS], &device);
            let sums = read_words(stream_read(words(data.clone(), &device), sums));
            assert_eq!(sums, expected, "{vectors} vectors on {name}");
        }
    }
}

#[test]
fn the_bandwidth_is_that_of_a_machine() {
    fn clock_ms() -> f64 {
        static BEGUN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        BEGUN.elapsed().as_secs_f64() * 1000.0
    }
    let (_, device) = devices().pop().expect("a device");
    let asked = 5 << 20;
    let measured = block_on(read_bandwidth(&device, asked, 4 << 20, clock_ms)).expect("measured");
    assert_eq!(measured.buffer_bytes, 4 << 20, "no more than can be bound");
    // From a busy laptop's CPU to the largest GPU's caches.
    let sane = 1e7..1e14;
    assert!(sane.contains(&measured.bytes_per_second), "{measured:?}");
    println!("{:.1} GB/s", measured.bytes_per_second / 1e9);
}
