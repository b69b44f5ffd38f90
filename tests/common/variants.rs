//! Choices of kernels that tests run.

use halfdepth::kernels::{CacheFormat, Prefill, Reduction, Variant};

/// The choices that a device may make, each with something of its own. Lavapipe has subgroups of eight; four is the least there is.
pub(crate) const VARIANTS: [Variant; 7] = [
    Variant::PLAIN,
    Variant::SOFTWARE,
    Variant {
        weight_rows: 8,
        lanes: 8,
        prefill: Prefill::Direct,
        ..Variant::PLAIN
    },
    Variant {
        prefill: Prefill::Shared,
        ..Variant::SOFTWARE
    },
    Variant {
        reduction: Reduction::Subgroup(8),
        ..Variant::PLAIN
    },
    Variant {
        weight_rows: 8,
        lanes: 4,
        reduction: Reduction::Subgroup(4),
        ..Variant::PLAIN
    },
    Variant {
        lanes: 16,
        reduction: Reduction::Subgroup(4),
        cache: CacheFormat::F16,
        ..Variant::PLAIN
    },
];
