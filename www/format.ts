// Numbers as people read them.

/** Decimal units, as browsers and disks count: 1 MB = 1,000,000 bytes. */
export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB"];
  let unit = 0;
  let value = count;
  while (unit + 1 < units.length && Number(value.toPrecision(3)) >= 1000) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : figures(value)} ${units[unit] ?? ""}`;
}

export function milliseconds(ms: number): string {
  return ms < 999.5
    ? `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`
    : `${(ms / 1000).toFixed(2)} s`;
}

export function tokensPerSecond(rate: number): string {
  return rate > 0 ? figures(rate) : "–";
}

export function ratio(value: number): string {
  return `${value < 0.95 ? value.toFixed(2) : value.toFixed(1)}×`;
}

export function count(value: number): string {
  return value.toLocaleString("en");
}

/** 2,600,000 -> "2.6 M". */
export function parameters(value: number): string {
  if (value >= 1e9) return `${figures(value / 1e9)} B`;
  if (value >= 1e6) return `${figures(value / 1e6)} M`;
  return count(value);
}

/** 8,388,608 -> "8.39 MFLOP". */
export function flops(value: number): string {
  const units = ["", "k", "M", "G", "T"];
  let unit = 0;
  let scaled = value;
  while (unit + 1 < units.length && Number(scaled.toPrecision(3)) >= 1000) {
    scaled /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? scaled : figures(scaled)} ${units[unit] ?? ""}FLOP`;
}

export function percent(share: number): string {
  const value = share * 100;
  return `${value < 0.95 ? value.toFixed(1) : value.toFixed(0)} %`;
}

export function nats(value: number): string {
  return value < 0.995 ? value.toFixed(3) : value.toFixed(2);
}

/** About three figures: 1.23, 12.3, 123, 1,234. */
function figures(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString("en");
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
