// Fetches a pack: its manifest, and its files in the pack's order, resuming where a connection dropped.
// A file is stored under its name, which is its SHA-256: what is there once is never fetched again, from any host.
// Bytes go to the engine as they come, and beside it into the store; nowhere does a file lie in memory whole. Lengths are
// checked here; the engine checks the hash, so a file counts as stored only after the engine has taken its last byte.
import { fileUrl } from "./address";
import { aborted, HalfdepthError, type FilesProgress } from "./protocol";
import { strings } from "./strings";

export interface PackFile {
  file: string;
  bytes: number;
  role: FilesProgress["role"];
  layer: number | null;
}

/** What a download may wait for and how often it tries; tests make it impatient. */
export interface Patience {
  /** Tries in a row that bring no byte before giving up. */
  tries: number;
  /** Before the second try; doubles each time. */
  backOffMs: number;
  /** A connection that brings nothing for so long counts as dropped. */
  stallMs: number;
}

export const PATIENCE: Patience = { tries: 5, backOffMs: 400, stallMs: 30_000 };

// The engine refuses a larger manifest as well.
const MANIFEST_LIMIT_BYTES = 4 << 20;

/** Where files live between visits. */
export interface Store {
  /** The bytes as they are read; undefined for what is not there. */
  read(file: string): Promise<ReadableStream<Uint8Array> | undefined>;
  /** Length in bytes; 0 for what is not there. */
  size(file: string): Promise<number>;
  /** Takes a file piece by piece. */
  write(file: string, bytes: number): Promise<Entry>;
  drop(file: string): Promise<void>;
}

/** A file on its way into a store. It is there only once it was kept; a store that fails takes the rest and keeps nothing. */
export interface Entry {
  push(bytes: Uint8Array): Promise<void>;
  keep(): Promise<void>;
  discard(): Promise<void>;
}

/** Hands the engine a file's bytes from byte `at` on; byte 0 begins it anew. Says whether the file is in, throws when it is not
 * what the manifest says. */
export type Take = (file: string, at: number, bytes: Uint8Array) => boolean;

export async function fetchManifest(
  url: string,
  signal: AbortSignal,
  patience: Patience = PATIENCE,
): Promise<Uint8Array> {
  return retrying(url, signal, patience, async (attempt) => {
    // A pack published anew must be seen; its files never change under their names.
    const response = await attempt.fetch({ cache: "no-cache" });
    if (!response.ok) throw refused(url, response.status);
    const parts: Uint8Array[] = [];
    let length = 0;
    for await (const part of attempt.body(response)) {
      length += part.length;
      if (length > MANIFEST_LIMIT_BYTES) throw failed(strings.download.manifestTooLarge(url));
      parts.push(part);
    }
    return joined(parts, length);
  });
}

/** Brings in every file in order. */
export async function fetchFiles(
  manifest: string,
  files: readonly PackFile[],
  store: Store,
  take: Take,
  report: (progress: FilesProgress) => void,
  signal: AbortSignal,
  patience: Patience = PATIENCE,
): Promise<void> {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  let bytesBefore = 0;
  for (const [filesDone, file] of files.entries()) {
    const { role, layer } = file;
    const tell = (bytesOfFile: number, retry: boolean) => {
      const bytesDone = bytesBefore + bytesOfFile;
      report({ role, layer, filesDone, files: files.length, bytesDone, bytes, retrying: retry });
    };
    tell(0, false);
    if (signal.aborted) throw aborted();
    if (!(await takeStored(file, take, store, tell, signal))) {
      const entry = await store.write(file.file, file.bytes);
      try {
        await fetchFile(fileUrl(manifest, file.file), file, take, entry, tell, signal, patience);
        await entry.keep();
      } catch (thrown) {
        await entry.discard();
        throw thrown;
      }
    }
    bytesBefore += file.bytes;
    tell(0, false);
  }
}

/** Bytes of these files that are stored already. */
export async function storedBytes(files: readonly PackFile[], store: Store): Promise<number> {
  const sizes = files.map(async ({ file, bytes }) =>
    (await store.size(file)) === bytes ? bytes : 0,
  );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/** A store in the browser's Cache API; where there is none (or no room), one that holds nothing. */
export async function openStore(storage: CacheStorage | undefined): Promise<Store> {
  try {
    // Undefined on pages that are not served over https.
    if (storage !== undefined) return cacheStore(await storage.open("halfdepth-pack-files"));
  } catch {
    // Private windows and full disks refuse: the visit works, the next one downloads again.
  }
  return noStore;
}

const noEntry: Entry = {
  push: () => Promise.resolve(),
  keep: () => Promise.resolve(),
  discard: () => Promise.resolve(),
};

const noStore: Store = {
  read: () => Promise.resolve(undefined),
  size: () => Promise.resolve(0),
  write: () => Promise.resolve(noEntry),
  drop: () => Promise.resolve(),
};

function cacheStore(cache: Cache): Store {
  // The Cache API wants a web address as its key; this one can never be fetched.
  const key = (file: string) => `https://pack.invalid/${encodeURIComponent(file)}`;
  const quietly = async <T>(work: () => Promise<T>, otherwise: T): Promise<T> => {
    try {
      return await work();
    } catch {
      return otherwise;
    }
  };
  return {
    read: (file) =>
      quietly(async () => (await cache.match(key(file)))?.body ?? undefined, undefined),
    size: (file) =>
      quietly(async () => {
        const found = await cache.match(key(file));
        if (found === undefined) return 0;
        const length = found.headers.get("content-length");
        // Written by an earlier version of this page. A blob has to be read to know its size.
        if (length === null) return (await found.blob()).size;
        await found.body?.cancel();
        return Number(length);
      }, 0),
    write: (file, bytes) => Promise.resolve(cacheEntry(cache, key(file), bytes)),
    drop: (file) =>
      quietly(async () => {
        await cache.delete(key(file));
      }, undefined),
  };
}

function cacheEntry(cache: Cache, key: string, bytes: number): Entry {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const headers = { "content-length": String(bytes) };
  const writer = writable.getWriter();
  // The cache shows an entry once its body has ended well. Where it refuses (full, private), the visit works all the same.
  const put = cache.put(key, new Response(readable, { headers })).catch(() => undefined);
  // It may refuse without a look at the body, and then nobody would ever take what is written.
  const unlessRefused = async (written: Promise<void>) => {
    await Promise.race([written, put]).catch(() => undefined);
  };
  return {
    push: (piece) => unlessRefused(writer.write(piece)),
    keep: async () => {
      await unlessRefused(writer.close());
      await put;
    },
    discard: async () => {
      await unlessRefused(writer.abort());
      await put;
    },
  };
}

// A store may hand over a whole file at once; the engine's memory is never to grow by one.
const PIECE_BYTES = 1 << 20;

function* pieces(bytes: Uint8Array): Generator<Uint8Array, void> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
}

/** Whether the stored copy was all the engine wanted. */
async function takeStored(
  file: PackFile,
  take: Take,
  store: Store,
  tell: (bytesOfFile: number, retry: boolean) => void,
  signal: AbortSignal,
): Promise<boolean> {
  const stored = await store.read(file.file);
  if (stored === undefined) return false;
  let isIn = false;
  const reader = stored.getReader();
  try {
    let at = 0;
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      if (signal.aborted) throw aborted();
      for (const piece of pieces(read.value)) {
        isIn = take(file.file, at, piece);
        at += piece.length;
      }
      tell(at, false);
    }
  } catch {
    // Damaged on this disk: the host's own copy decides.
    isIn = false;
    await reader.cancel().catch(() => undefined);
  }
  if (signal.aborted) throw aborted();
  if (!isIn) await store.drop(file.file);
  return isIn;
}

async function fetchFile(
  url: string,
  file: PackFile,
  take: Take,
  entry: Entry,
  tell: (bytesOfFile: number, retry: boolean) => void,
  signal: AbortSignal,
  patience: Patience,
): Promise<void> {
  let length = 0;
  await retrying(url, signal, patience, async (attempt) => {
    if (attempt.number > 1) tell(length, true);
    const before = length;
    // The name is the hash, so what lies there cannot have changed: no If-Range, which would cost a preflight.
    // The HTTP cache is passed by: the store holds the file, and once is enough.
    const response = await attempt.fetch(
      length > 0
        ? { cache: "no-store", headers: { range: `bytes=${length}-` } }
        : { cache: "no-store" },
    );
    if (!response.ok) throw refused(url, response.status);
    const begins = response.status === 206 ? firstByte(response, length) : 0;
    if (begins !== 0 && begins !== length) throw failed(strings.download.wrongRange(url));
    // Believed before anything is read, unless the transfer is compressed.
    const announced = response.headers.get("content-length");
    const plain = response.headers.get("content-encoding") === null;
    if (announced !== null && plain && begins + Number(announced) !== file.bytes) {
      throw failed(strings.download.wrongLength(url, file.bytes, begins + Number(announced)));
    }
    // A server without ranges begins anew; what is in is read once more and passed over.
    let known = length - begins;
    for await (const part of attempt.body(response)) {
      const fresh = part.subarray(Math.min(known, part.length));
      known -= part.length - fresh.length;
      if (length + fresh.length > file.bytes) {
        throw failed(strings.download.wrongLength(url, file.bytes, length + fresh.length));
      }
      for (const piece of pieces(fresh)) {
        attempt.verdict(() => take(file.file, length, piece));
        await entry.push(piece);
        length += piece.length;
      }
      if (length > before) attempt.broughtSomething();
      tell(length, false);
    }
    // A body may also end early without an error.
    if (length < file.bytes) throw new TypeError(strings.download.endedEarly(length, file.bytes));
  });
}

/** One try: a fetch and a body that both end when the visitor stops or the connection stalls. */
interface Attempt {
  number: number;
  fetch(init: RequestInit): Promise<Response>;
  body(response: Response): AsyncGenerator<Uint8Array, void>;
  /** Counting starts again: a bad line that still brings bytes is not given up. */
  broughtSomething(): void;
  /** What this throws is nothing that another try would change. */
  verdict(work: () => void): void;
}

async function retrying<T>(
  url: string,
  signal: AbortSignal,
  patience: Patience,
  work: (attempt: Attempt) => Promise<T>,
): Promise<T> {
  let fruitless = 0;
  let final: { thrown: unknown } | undefined;
  const stopped = () => signal.aborted;
  const verdict = (work: () => void) => {
    try {
      work();
    } catch (thrown) {
      final = { thrown };
      throw thrown;
    }
  };
  for (let number = 1; ; number += 1) {
    if (stopped()) throw aborted();
    const watch = watchdog(signal, patience.stallMs);
    try {
      return await work({
        number,
        fetch: (init) => fetch(url, { ...init, signal: watch.signal }),
        body: (response) => watch.body(response),
        broughtSomething: () => (fruitless = 0),
        verdict,
      });
    } catch (thrown) {
      if (stopped()) throw aborted();
      if (final !== undefined) throw final.thrown;
      if (thrown instanceof HalfdepthError && !(thrown instanceof Transient)) throw thrown;
      fruitless += 1;
      if (fruitless >= patience.tries) {
        throw thrown instanceof HalfdepthError ? thrown : failed(strings.download.unreachable(url));
      }
      await pause(patience.backOffMs * 2 ** (fruitless - 1), signal);
    } finally {
      watch.end();
    }
  }
}

function watchdog(outer: AbortSignal, stallMs: number) {
  const inner = new AbortController();
  const giveUp = () => {
    inner.abort();
  };
  let timer = setTimeout(giveUp, stallMs);
  outer.addEventListener("abort", giveUp);
  return {
    signal: inner.signal,
    async *body(response: Response): AsyncGenerator<Uint8Array, void> {
      if (response.body === null) return;
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(giveUp, stallMs);
        yield value;
      }
    },
    end() {
      clearTimeout(timer);
      outer.removeEventListener("abort", giveUp);
      // Also frees a connection whose answer was refused half-way.
      inner.abort();
    },
  };
}

/** A refusal that may pass: the server is busy or broken just now. */
class Transient extends HalfdepthError {}

function refused(url: string, status: number): HalfdepthError {
  const message = strings.download.refused(url, status);
  const passes = status === 408 || status === 425 || status === 429 || status >= 500;
  return passes ? new Transient("DownloadError", message) : failed(message);
}

function failed(message: string): HalfdepthError {
  return new HalfdepthError("DownloadError", message);
}

/** Where a 206 answer begins. */
function firstByte(response: Response, asked: number): number {
  // Another origin may hide this header; then it is taken to be what was asked for, and the hash decides.
  const header = response.headers.get("content-range");
  if (header === null) return asked;
  return Number(/^bytes (\d+)-/.exec(header)?.[1] ?? -1);
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(aborted());
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal.addEventListener("abort", stop, { once: true });
  });
}
