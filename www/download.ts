// Fetches a pack: its manifest, and its files in the pack's order, resuming where a connection dropped.
// A file is stored under its name, which is its SHA-256: what is there once is never fetched again, from any host.
// Lengths are checked here; the engine checks the hash, so a file is stored only after the engine has taken it.
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
  get(file: string): Promise<Uint8Array | undefined>;
  /** Length in bytes; 0 for what is not there. */
  size(file: string): Promise<number>;
  put(file: string, bytes: Uint8Array): Promise<void>;
  drop(file: string): Promise<void>;
}

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

/** Brings in every file in order. `take` hands a file to the engine and throws when its contents are wrong. */
export async function fetchFiles(
  manifest: string,
  files: readonly PackFile[],
  store: Store,
  take: (file: string, bytes: Uint8Array) => void,
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
    if (!(await takeStored(file, store, take))) {
      const fresh = await fetchFile(fileUrl(manifest, file.file), file, tell, signal, patience);
      take(file.file, fresh);
      await store.put(file.file, fresh);
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

const noStore: Store = {
  get: () => Promise.resolve(undefined),
  size: () => Promise.resolve(0),
  put: () => Promise.resolve(),
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
    get: (file) =>
      quietly(async () => {
        const found = await cache.match(key(file));
        return found && new Uint8Array(await found.arrayBuffer());
      }, undefined),
    size: (file) =>
      quietly(async () => {
        // A blob knows its size without being read.
        const found = await cache.match(key(file));
        return found === undefined ? 0 : (await found.blob()).size;
      }, 0),
    put: (file, bytes) =>
      quietly(() => cache.put(key(file), new Response(bytes.slice().buffer)), undefined),
    drop: (file) =>
      quietly(async () => {
        await cache.delete(key(file));
      }, undefined),
  };
}

async function takeStored(
  file: PackFile,
  store: Store,
  take: (file: string, bytes: Uint8Array) => void,
): Promise<boolean> {
  const stored = await store.get(file.file);
  if (stored === undefined) return false;
  if (stored.length === file.bytes) {
    try {
      take(file.file, stored);
      return true;
    } catch {
      // Damaged on this disk: the host's own copy decides.
    }
  }
  await store.drop(file.file);
  return false;
}

async function fetchFile(
  url: string,
  file: PackFile,
  tell: (bytesOfFile: number, retry: boolean) => void,
  signal: AbortSignal,
  patience: Patience,
): Promise<Uint8Array> {
  let bytes: Uint8Array | undefined;
  let length = 0;
  return retrying(url, signal, patience, async (attempt) => {
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
    if (response.status !== 206) length = 0;
    else if (firstByte(response, length) !== length) throw failed(strings.download.wrongRange(url));
    // Believed before anything of the claimed size is allocated, unless the transfer is compressed.
    const announced = response.headers.get("content-length");
    const plain = response.headers.get("content-encoding") === null;
    if (announced !== null && plain && length + Number(announced) !== file.bytes) {
      throw failed(strings.download.wrongLength(url, file.bytes, length + Number(announced)));
    }
    bytes ??= allocate(url, file.bytes);
    for await (const part of attempt.body(response)) {
      if (length + part.length > file.bytes) {
        throw failed(strings.download.wrongLength(url, file.bytes, length + part.length));
      }
      bytes.set(part, length);
      length += part.length;
      if (length > before) attempt.broughtSomething();
      tell(length, false);
    }
    // A body may also end early without an error.
    if (length < file.bytes) throw new TypeError(strings.download.endedEarly(length, file.bytes));
    return bytes;
  });
}

/** One try: a fetch and a body that both end when the visitor stops or the connection stalls. */
interface Attempt {
  number: number;
  fetch(init: RequestInit): Promise<Response>;
  body(response: Response): AsyncGenerator<Uint8Array, void>;
  /** Counting starts again: a bad line that still brings bytes is not given up. */
  broughtSomething(): void;
}

async function retrying<T>(
  url: string,
  signal: AbortSignal,
  patience: Patience,
  work: (attempt: Attempt) => Promise<T>,
): Promise<T> {
  let fruitless = 0;
  const stopped = () => signal.aborted;
  for (let number = 1; ; number += 1) {
    if (stopped()) throw aborted();
    const watch = watchdog(signal, patience.stallMs);
    try {
      return await work({
        number,
        fetch: (init) => fetch(url, { ...init, signal: watch.signal }),
        body: (response) => watch.body(response),
        broughtSomething: () => (fruitless = 0),
      });
    } catch (thrown) {
      if (stopped()) throw aborted();
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

function allocate(url: string, bytes: number): Uint8Array {
  try {
    return new Uint8Array(bytes);
  } catch {
    throw failed(strings.download.noRoom(url, bytes));
  }
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
