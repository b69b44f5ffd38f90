//! What differs from device to device: how a product is cut up, how sums are joined, how the cache is stored. Every variant
//! computes the same; `decode::trial` finds the quickest.

use std::fmt;
use std::str::FromStr;

use super::WORKGROUP;

/// One choice of kernels. [`Variant::PLAIN`] runs on every device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// Weight rows that a team of threads takes at once: each loaded input serves them all. 4 or 8.
    pub weight_rows: usize,
    /// Threads that share a weight row's columns, at most: few where loads are dear (a CPU that plays GPU), many where neighbours
    /// must read neighbouring words. A power of two up to 64.
    pub lanes: usize,
    /// How the sums of a team are joined.
    pub reduction: Reduction,
    /// How many rows at once are multiplied.
    pub prefill: Prefill,
    /// How keys and values are stored.
    pub cache: CacheFormat,
}

/// How the sums of a team of threads are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// A tree in workgroup memory.
    Tree,
    /// Exchanges within subgroups of at least so many threads.
    Subgroup(usize),
}

/// How a product of many rows is cut up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prefill {
    /// A thread takes four weight rows and four rows of x, in registers: short shaders, which a program that plays GPU is quick to
    /// compile.
    Direct,
    /// A workgroup takes 64 by 64, by way of workgroup memory.
    Tile,
    /// A thread takes four or six weight rows and four rows of x, and subgroups of at least [`SHARING`] threads load x once for all of
    /// theirs: where each load is dear.
    Shared,
}

/// How keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheFormat {
    /// Whole.
    F32,
    /// Halved, two in a word. Sums stay f32.
    F16,
}

/// Threads that share their loads in [`Prefill::Shared`]: a vector of a group's 32 columns each.
pub const SHARING: usize = 8;

impl CacheFormat {
    /// Words that hold `values` values, an even count.
    pub fn words(self, values: usize) -> usize {
        match self {
            Self::F32 => values,
            Self::F16 => values / 2,
        }
    }
}

impl Variant {
    /// Runs everywhere: f32, no subgroups.
    pub const PLAIN: Self = Self {
        weight_rows: 4,
        lanes: 64,
        reduction: Reduction::Tree,
        prefill: Prefill::Tile,
        cache: CacheFormat::F32,
    };

    /// Runs everywhere, and is quicker where the "GPU" is a program on the CPU: it pays for each load, not for its neighbourhood.
    pub const SOFTWARE: Self = Self {
        weight_rows: 4,
        lanes: 1,
        reduction: Reduction::Tree,
        prefill: Prefill::Direct,
        cache: CacheFormat::F32,
    };

    /// The subgroups that the kernels exchange values within, at least; `None` where they need none.
    pub fn subgroup(&self) -> Option<usize> {
        let sharing = (self.prefill == Prefill::Shared).then_some(SHARING);
        match self.reduction {
            Reduction::Subgroup(size) => sharing.max(Some(size)),
            Reduction::Tree => sharing,
        }
    }

    /// The lanes for rows of `groups` groups of columns: as many as may be, but so that at most an eighth of their turns is idle.
    pub(super) fn lanes_for(&self, groups: usize) -> usize {
        let mut lanes = self.lanes.clamp(1, WORKGROUP);
        while lanes > 1 && groups.next_multiple_of(lanes) * 8 > groups * 9 {
            lanes /= 2;
        }
        lanes
    }
}

/// Why a variant's name is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` names no variant; one looks like `r4-l64-tree-tile-f32`")]
pub struct UnknownVariant {
    /// What was given.
    pub name: String,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}-l{}-", self.weight_rows, self.lanes)?;
        match self.reduction {
            Reduction::Tree => write!(f, "tree")?,
            Reduction::Subgroup(smallest) => write!(f, "sg{smallest}")?,
        }
        f.write_str(match self.prefill {
            Prefill::Direct => "-direct",
            Prefill::Tile => "-tile",
            Prefill::Shared => "-shared",
        })?;
        f.write_str(match self.cache {
            CacheFormat::F32 => "-f32",
            CacheFormat::F16 => "-f16",
        })
    }
}

impl FromStr for Variant {
    type Err = UnknownVariant;

    /// Reads what [`Display`](fmt::Display) writes: names are remembered from one visit to the next.
    fn from_str(name: &str) -> Result<Self, UnknownVariant> {
        let parse = || {
            let mut parts = name.split('-');
            let number = |part: Option<&str>, prefix: &str| {
                part?.strip_prefix(prefix)?.parse::<usize>().ok()
            };
            let weight_rows = number(parts.next(), "r").filter(|rows| [4, 8].contains(rows))?;
            let power = |n: &usize| n.is_power_of_two() && *n <= WORKGROUP;
            let lanes = number(parts.next(), "l").filter(power)?;
            let reduction = match parts.next()? {
                "tree" => Reduction::Tree,
                other => Reduction::Subgroup(number(Some(other), "sg").filter(power)?),
            };
            let prefill = match parts.next()? {
                "direct" => Prefill::Direct,
                "tile" => Prefill::Tile,
                "shared" => Prefill::Shared,
                _ => return None,
            };
            let cache = match parts.next()? {
                "f32" => CacheFormat::F32,
                "f16" => CacheFormat::F16,
                _ => return None,
            };
            let variant = Self {
                weight_rows,
                lanes,
                reduction,
                prefill,
                cache,
            };
            parts.next().is_none().then_some(variant)
        };
        parse().ok_or_else(|| UnknownVariant {
            name: name.to_string(),
        })
    }
}
