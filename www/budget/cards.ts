// Machines that people have: their memory, and how fast it is read. As src/budget/cards.rs.

export interface Card {
  /** As it is sold. */
  name: string;
  /** GiB of memory; of a computer whose GPU shares it, all of it. */
  memoryGib: number;
  /** At the most. */
  bytesPerSecond: number;
}

// The screen, the driver and what a pass writes need the rest. A guess on the safe side.
const USABLE = 0.9;

/** By memory, then bandwidth. These are as commonly listed; not every one was looked up with its maker. */
export const CARDS: readonly Card[] = [
  card("GeForce RTX 4060", 8, 128, 17),
  card("GeForce RTX 3060", 12, 192, 15),
  card("Laptop, DDR5-5600 on two channels", 16, 128, 5.6),
  card("Apple M2", 16, 128, 6.4),
  card("GeForce RTX 4060 Ti", 16, 128, 18),
  card("Arc A770", 16, 256, 17.5),
  card("GeForce RTX 3090", 24, 384, 19.5),
  card("Radeon RX 7900 XTX", 24, 384, 20),
  card("GeForce RTX 4090", 24, 384, 21),
  card("GeForce RTX 5090", 32, 512, 28),
  card("Apple M2 Max", 64, 512, 6.4),
  card("A100 SXM", 80, 5120, 3.186),
  card("H100 SXM", 80, 5120, 5.234),
  card("Apple M2 Ultra", 192, 1024, 6.4),
];

/** Whether weights and cache of so many bytes leave room for the rest. */
export function fits({ memoryGib }: Card, bytes: number): boolean {
  return bytes <= USABLE * memoryGib * 2 ** 30;
}

/** Bandwidth follows from the bus's width and its rate, in 10^9 bits a second on each wire. */
function card(name: string, memoryGib: number, busBits: number, gigabitsPerPin: number): Card {
  return { name, memoryGib, bytesPerSecond: (busBits * gigabitsPerPin * 1e9) / 8 };
}
