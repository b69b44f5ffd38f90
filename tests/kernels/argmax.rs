//! `argmax`.

use halfdepth::kernels::RING;
use halfdepth::kernels::argmax::{Feedback, argmax};
use halfdepth::kernels::attention::Heads;

use crate::model::devices;
use crate::support::{floats, random, read_words, words};

#[test]
fn argmax_takes_the_first_of_the_largest_and_moves_the_step() {
    let heads = Heads {
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        context: 512,
    };
    // (vocabulary, ids that share the largest logit, position, rows)
    let cases: [(usize, &[usize], u32, u32); 6] = [
        (1, &[0], 0, 1),
        (7, &[6], 3, 1),
        (255, &[0, 254], 63, 1),
        (257, &[256, 128], 64, 32),
        (2048, &[2047, 300, 301], 200, 1),
        (4099, &[4098], 511, 1),
    ];
    for (name, device) in devices() {
        for (vocabulary, largest, position, rows) in cases {
            let mut logits = random(1, vocabulary);
            for id in largest {
                logits[*id] = 2.0;
            }
            let feedback = Feedback {
                ids: words(vec![9; 4], &device),
                step: words(vec![position, rows], &device),
                grid: words(vec![0; 3], &device),
                history: words(vec![0; RING], &device),
            };
            let feedback = argmax(floats(logits, [1, vocabulary], &device), feedback, heads);
            let expected = *largest.iter().min().expect("one") as u32;
            let next = position + rows;
            let splits = (next + 1).min(512).div_ceil(64).min(16);
            assert_eq!(
                read_words(feedback.ids)[0],
                expected,
                "{name}, {vocabulary}"
            );
            assert_eq!(read_words(feedback.step), [next, 1], "{name}, {vocabulary}");
            assert_eq!(
                read_words(feedback.grid),
                [2, splits.min(8), 1],
                "{name}, {vocabulary}"
            );
            assert_eq!(
                read_words(feedback.history)[next as usize % RING],
                expected,
                "{name}, {vocabulary}"
            );
        }
    }
}
