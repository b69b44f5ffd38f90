//! Machines that people have: their memory, and how fast it is read.

/// One card or computer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Card {
    /// As it is sold.
    pub name: &'static str,
    /// GiB of memory; of a computer whose GPU shares it, all of it.
    pub memory_gib: u64,
    /// Width of the memory bus, in bits.
    bus_bits: f64,
    /// 10^9 bits a second on each wire.
    gigabits_per_pin: f64,
}

/// Nothing else than the model: the screen, the driver and what a pass writes need the rest. A guess on the safe side.
const USABLE: f64 = 0.9;

/// By memory, then bandwidth, which follows from the bus's width and rate. These are as commonly listed; not every one was looked up
/// with its maker.
pub const CARDS: [Card; 14] = [
    card("GeForce RTX 4060", 8, 128.0, 17.0),
    card("GeForce RTX 3060", 12, 192.0, 15.0),
    card("Laptop, DDR5-5600 on two channels", 16, 128.0, 5.6),
    card("Apple M2", 16, 128.0, 6.4),
    card("GeForce RTX 4060 Ti", 16, 128.0, 18.0),
    card("Arc A770", 16, 256.0, 17.5),
    card("GeForce RTX 3090", 24, 384.0, 19.5),
    card("Radeon RX 7900 XTX", 24, 384.0, 20.0),
    card("GeForce RTX 4090", 24, 384.0, 21.0),
    card("GeForce RTX 5090", 32, 512.0, 28.0),
    card("Apple M2 Max", 64, 512.0, 6.4),
    card("A100 SXM", 80, 5120.0, 3.186),
    card("H100 SXM", 80, 5120.0, 5.234),
    card("Apple M2 Ultra", 192, 1024.0, 6.4),
];

impl Card {
    /// Bytes a second that its memory is read at, at the most.
    pub fn bytes_per_second(&self) -> f64 {
        self.bus_bits * self.gigabits_per_pin * 1e9 / 8.0
    }

    /// Whether weights and cache of so many bytes leave room for the rest.
    pub fn fits(&self, bytes: u64) -> bool {
        bytes as f64 <= USABLE * (self.memory_gib << 30) as f64
    }
}

const fn card(name: &'static str, memory_gib: u64, bus_bits: f64, gigabits_per_pin: f64) -> Card {
    Card {
        name,
        memory_gib,
        bus_bits,
        gigabits_per_pin,
    }
}
