// Sizes and powers of ten as the budget shows them: with the digits that the claims are compared in.

/** Decimal units, two digits behind the point: 19,547,140,608 -> "19.55 GB". */
export function size(bytes: number): string {
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes / 1000;
  let unit = 0;
  while (unit + 1 < units.length && value >= (unit === 2 ? 10_000 : 999.995)) {
    value /= 1000;
    unit += 1;
  }
  return bytes < 1000 ? `${bytes} B` : `${withPoint(value, 2)} ${units[unit] ?? ""}`;
}

/** 1.374e11 -> "1.374 × 10¹¹". */
export function power(value: number, digits: number): string {
  const [mantissa = "", exponent = ""] = value.toExponential(digits).split("e+");
  const raised = exponent.replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹".charAt(Number(digit)));
  return `${mantissa} × 10${raised}`;
}

export function percent(share: number): string {
  return `${withPoint(100 * share, 1)} %`;
}

/** Tokens a second: as many digits as mean something. */
export function rate(perSecond: number): string {
  if (perSecond >= 100) return withPoint(perSecond, 0);
  return withPoint(perSecond, perSecond >= 10 ? 1 : 2);
}

export function whole(value: number): string {
  return value.toLocaleString("en");
}

export function withPoint(value: number, digits: number): string {
  return value.toLocaleString("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}
