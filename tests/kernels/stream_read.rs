//! `stream_read`, and the bandwidth that is measured with it.

use std::time::Instant;

use halfdepth::decode::read_bandwidth;
use halfdepth::kernels::stream_read::{Order, VECTOR, stream_read, threads};
use pollster::block_on;

use crate::model::devices;
use crate::support::{read_words, words};

#[test]
fn every_word_is_read_once() {
    // Fewer vectors than threads, as many, a turn of four that is not full, several workgroups.
    for vectors in [
        1,
        3,
        255,
        256,
        257,
        1023,
        1024,
        1025,
        3 * 8192 - 1,
        40 * 8192 + 77,
    ] {
        let threads = threads(vectors * VECTOR);
        let data: Vec<u32> = (0..(vectors * VECTOR) as u32)
            .map(|at| at.wrapping_mul(0x9e37_79b9) ^ (at >> 3))
            .collect();
        for (order, team) in [
            (Order::Interleaved, threads),
            (Order::ByWorkgroup, 256),
            (Order::ByEight, 8),
        ] {
            // Each team goes through a stretch of its own, a vector a thread; the rest one by one.
            let turns = vectors / threads;
            let mut expected = vec![0_u32; threads];
            for (at, word) in data.iter().enumerate() {
                let at = at / VECTOR;
                let thread = if at < turns * threads {
                    at / (team * turns) * team + at % team
                } else {
                    at % threads
                };
                expected[thread] = expected[thread].wrapping_add(*word);
            }
            for (name, device) in devices() {
                // What was there before does not show.
                let sums = words(vec![7; threads], &device);
                let sums = read_words(stream_read(words(data.clone(), &device), sums, order));
                assert_eq!(sums, expected, "{vectors} vectors, {order:?}, on {name}");
            }
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
    for bytes in [1 << 20, 16 << 20, 76 << 20] {
        let measured =
            block_on(read_bandwidth(&device, bytes, 128 << 20, clock_ms)).expect("measured");
        println!("{bytes} bytes: {:.1} GB/s", measured.bytes_per_second / 1e9);
    }
}
