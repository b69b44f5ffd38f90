// Where a manifest lies, and what a download will take, told by it alone. The engine reads the whole of it later, and far more
// strictly. No words here: the widget's facade has no room for the page's.

export type Refusal = "unreadable" | "scheme" | "credentials";

/** `text` is the address of a pack's folder or of its manifest, as somebody wrote it; `page` what it is relative to. Only http and
 * https pass. */
export function manifestAddress(text: string, page: string): URL | Refusal {
  if (!URL.canParse(text, page)) return "unreadable";
  const url = new URL(text, page);
  if (url.protocol !== "http:" && url.protocol !== "https:") return "scheme";
  // fetch refuses such an address, and with a message that tells nobody why.
  if (url.username !== "" || url.password !== "") return "credentials";
  url.hash = "";
  if (url.pathname.endsWith(".json")) return url;
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return new URL("manifest.json", url);
}

export interface Listed {
  file: string;
  bytes: number;
}

/** Every file of a pack once, as the engine will ask for them; null for what is no manifest. */
export function packFiles(manifest: unknown): Listed[] | null {
  if (!isRecord(manifest) || manifest.format !== "halfdepth-pack") return null;
  const { tokenizer, embedding, head, layers, replacements = [], heads = [] } = manifest;
  if (![layers, replacements, heads].every(Array.isArray)) return null;
  const entries = [tokenizer, embedding, head, layers, replacements, heads].flat<unknown[]>();
  const files = new Map<string, number>();
  for (const entry of entries) {
    if (!isRecord(entry)) return null;
    const { file, bytes } = entry;
    if (typeof file !== "string" || !Number.isSafeInteger(bytes) || Number(bytes) < 0) return null;
    // Layers of equal content share a file, which comes once.
    files.set(file, Number(bytes));
  }
  return [...files].map(([file, bytes]) => ({ file, bytes }));
}

export function packBytes(files: readonly Listed[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
