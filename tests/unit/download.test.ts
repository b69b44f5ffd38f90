// The download against a real server on this machine, one that breaks connections, forgets ranges and lies.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  fetchFiles,
  fetchManifest,
  openStore,
  storedBytes,
  type PackFile,
  type Patience,
  type Store,
} from "../../www/download";
import type { FilesProgress } from "../../www/protocol";

// Small steps of 64 kB reach the client one by one; a megabyte is enough of them.
const CONTENT = Uint8Array.from({ length: 1_000_000 }, (_, index) => (index * 7919) % 251);
const FILE: PackFile = { file: "a.bin", bytes: CONTENT.length, role: "layer", layer: 3 };
// A busy machine is no silent connection: who tests those takes less.
const PATIENCE: Patience = { tries: 3, backOffMs: 1, stallMs: 20_000 };

type Handler = (request: IncomingMessage, response: ServerResponse, nth: number) => void;

let server: Server;
let base: string;
let handle: Handler;
let requests: { url: string; range: string | undefined }[];

beforeEach(async () => {
  requests = [];
  server = createServer((request, response) => {
    requests.push({ url: request.url ?? "", range: request.headers.range });
    handle(request, response, requests.length);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/pack/manifest.json`;
});

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

function rangeStart(request: IncomingMessage): number {
  return Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
}

const whole: Handler = (request, response) => {
  const start = rangeStart(request);
  const body = CONTENT.subarray(start);
  const range = { "content-range": `bytes ${start}-${CONTENT.length - 1}/${CONTENT.length}` };
  response.writeHead(start > 0 ? 206 : 200, { "content-length": body.length, ...range });
  response.end(body);
};

/** Sends `bytes` of what was asked for and drops the connection. */
function breaksAfter(bytes: number): Handler {
  return (request, response) => {
    const start = rangeStart(request);
    const left = CONTENT.length - start;
    const range = { "content-range": `bytes ${start}-${CONTENT.length - 1}/${CONTENT.length}` };
    response.writeHead(start > 0 ? 206 : 200, { "content-length": left, ...range });
    // Sent first and dropped a moment later: what was on its way is lost with the connection.
    response.write(CONTENT.subarray(start, start + bytes), () =>
      setTimeout(() => response.destroy(), 20),
    );
  };
}

function memoryStore(): Store & { files: Map<string, Uint8Array> } {
  const files = new Map<string, Uint8Array>();
  return {
    files,
    read: (file) => {
      const bytes = files.get(file);
      return Promise.resolve(bytes && new Blob([bytes.slice()]).stream());
    },
    size: (file) => Promise.resolve(files.get(file)?.length ?? 0),
    write: (file) => {
      const pieces: Uint8Array[] = [];
      return Promise.resolve({
        push: (piece) => Promise.resolve(void pieces.push(piece.slice())),
        keep: () => Promise.resolve(void files.set(file, Buffer.concat(pieces))),
        discard: () => Promise.resolve(),
      });
    },
    drop: (file) => Promise.resolve(void files.delete(file)),
  };
}

/** What came of the files, and the largest piece that was handed over. */
interface Loaded {
  taken: Map<string, Uint8Array>;
  largest: number;
  progress: FilesProgress[];
}

async function load(
  files: readonly PackFile[],
  store: Store = memoryStore(),
  signal: AbortSignal = new AbortController().signal,
  onProgress: (progress: FilesProgress) => void = () => undefined,
  patience: Patience = PATIENCE,
): Promise<Loaded> {
  const loaded: Loaded = { taken: new Map(), largest: 0, progress: [] };
  const { taken, progress } = loaded;
  const arriving = new Map<string, Uint8Array[]>();
  // As the engine does it: pieces follow each other, and the last one decides.
  const take = (file: string, at: number, bytes: Uint8Array) => {
    loaded.largest = Math.max(loaded.largest, bytes.length);
    const pieces = at === 0 ? [] : (arriving.get(file) ?? []);
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (length !== at) throw new Error(`a piece at ${at}, not at ${length}`);
    if (length + bytes.length > CONTENT.length) throw new Error("too long");
    arriving.set(file, [...pieces, bytes.slice()]);
    if (length + bytes.length < CONTENT.length) return false;
    const whole = Buffer.concat(arriving.get(file) ?? []);
    if (Buffer.compare(whole, CONTENT) !== 0) throw new Error("wrong hash");
    taken.set(file, whole);
    return true;
  };
  const report = (now: FilesProgress) => {
    progress.push(now);
    onProgress(now);
  };
  await fetchFiles(base, files, store, take, report, signal, patience);
  return loaded;
}

describe("a pack's files", () => {
  test("come in order, with progress that ends at all bytes", async () => {
    handle = whole;
    const second: PackFile = { ...FILE, file: "b.bin", layer: 4 };
    const { taken, progress } = await load([FILE, second]);
    expect([...taken.keys()]).toEqual(["a.bin", "b.bin"]);
    expect(requests.map(({ url }) => url)).toEqual(["/pack/a.bin", "/pack/b.bin"]);
    expect(progress.at(-1)).toMatchObject({ bytesDone: 2_000_000, bytes: 2_000_000, files: 2 });
    const done = progress.map(({ bytesDone }) => bytesDone);
    expect(done).toEqual([...done].sort((a, b) => a - b));
  });

  test("a dropped connection is picked up where it broke", async () => {
    handle = (request, response, nth) => {
      (nth < 3 ? breaksAfter(300_000) : whole)(request, response, nth);
    };
    const { taken, progress } = await load([FILE]);
    expect(taken.has("a.bin")).toBe(true);
    expect(requests).toHaveLength(3);
    const starts = requests.map(({ range }) => Number(/\d+/.exec(range ?? "0")?.[0]));
    expect(starts[0]).toBe(0);
    expect(starts[1]).toBeGreaterThan(0);
    expect(starts[2]).toBeGreaterThan(starts[1] ?? 0);
    expect(progress.some(({ retrying }) => retrying)).toBe(true);
  });

  test("a line that keeps breaking but brings bytes is not given up", async () => {
    handle = breaksAfter(200_000);
    await load([FILE]);
    expect(requests.length).toBeGreaterThan(PATIENCE.tries);
  });

  test("a server without ranges is read again, and what is in is passed over", async () => {
    handle = (request, response, nth) => {
      delete request.headers.range;
      (nth === 1 ? breaksAfter(300_000) : whole)(request, response, nth);
    };
    const { taken, progress } = await load([FILE]);
    expect(taken.has("a.bin")).toBe(true);
    expect(requests).toHaveLength(2);
    const done = progress.map(({ bytesDone }) => bytesDone);
    expect(done).toEqual([...done].sort((a, b) => a - b));
  });

  test("a connection that falls silent counts as dropped", async () => {
    handle = (request, response, nth) => {
      if (nth > 1) {
        whole(request, response, nth);
        return;
      }
      response.writeHead(200, { "content-length": CONTENT.length });
      response.write(CONTENT.subarray(0, 100_000));
    };
    const patience = { ...PATIENCE, stallMs: 300 };
    const loading = load([FILE], undefined, undefined, undefined, patience);
    expect((await loading).taken.has("a.bin")).toBe(true);
    // A busy machine may take the good connection for a silent one too.
    expect(requests.length).toBeGreaterThanOrEqual(2);
  });

  test.each([500, 503, 429])("status %d passes and is tried again", async (status) => {
    handle = (request, response, nth) => {
      if (nth > 1) whole(request, response, nth);
      else response.writeHead(status).end();
    };
    expect((await load([FILE])).taken.has("a.bin")).toBe(true);
  });
});

describe("what cannot be mended is a named error", () => {
  test.each<[string, Handler, number, RegExp]>([
    ["nothing there", (_, response) => response.writeHead(404).end(), 1, /nothing at .*a\.bin/],
    ["forbidden", (_, response) => response.writeHead(403).end(), 1, /status 403/],
    ["always busy", (_, response) => response.writeHead(503).end(), 3, /status 503/],
    ["always dropped", (_, response) => void response.destroy(), 3, /could not be reached/],
    ["too short", (_, response) => response.end(CONTENT.subarray(1)), 1, /999,999 bytes or more/],
    ["too long", (_, response) => response.end(Buffer.alloc(1_000_001)), 1, /1,000,001 bytes/],
    [
      "too long, length hidden",
      (_, response) => void response.write(CONTENT, () => response.end(Buffer.alloc(9))),
      1,
      /manifest says 1,000,000/,
    ],
    [
      "another range than asked for",
      (request, response, nth) => {
        if (nth === 1) breaksAfter(300_000)(request, response, nth);
        else response.writeHead(206, { "content-range": "bytes 7-9/1000000" }).end("abc");
      },
      2,
      /other bytes than were asked for/,
    ],
  ])("%s", async (_, handler, tries, message) => {
    handle = handler;
    await expect(load([FILE])).rejects.toMatchObject({
      name: "DownloadError",
      message: expect.stringMatching(message) as string,
    });
    expect(requests).toHaveLength(tries);
  });
});

describe("stopping", () => {
  test("ends a running transfer at once and stores nothing", async () => {
    handle = (_, response) => {
      response.writeHead(200, { "content-length": CONTENT.length });
      response.write(CONTENT.subarray(0, 100_000));
    };
    const store = memoryStore();
    const stop = new AbortController();
    const loading = load([FILE], store, stop.signal, ({ bytesDone }) => {
      if (bytesDone > 0) stop.abort();
    });
    await expect(loading).rejects.toMatchObject({ name: "Aborted" });
    expect(store.files.size).toBe(0);
    expect(requests).toHaveLength(1);
  });

  test("ends the wait between two tries", async () => {
    handle = (_, response) => response.writeHead(503).end();
    const stop = new AbortController();
    setTimeout(() => {
      stop.abort();
    }, 50);
    const patience = { ...PATIENCE, backOffMs: 60_000 };
    await expect(fetchManifest(base, stop.signal, patience)).rejects.toMatchObject({
      name: "Aborted",
    });
  });
});

describe("the store", () => {
  test("spares the second download", async () => {
    handle = whole;
    const store = memoryStore();
    await load([FILE], store);
    expect(await storedBytes([FILE, { ...FILE, file: "b.bin" }], store)).toBe(1_000_000);
    const { taken, progress } = await load([FILE], store);
    expect(requests).toHaveLength(1);
    expect(taken.has("a.bin")).toBe(true);
    expect(progress.at(-1)).toMatchObject({ bytesDone: 1_000_000 });
  });

  test("hands over a large copy in pieces", async () => {
    const store = memoryStore();
    store.read = () =>
      Promise.resolve(
        new ReadableStream({
          start: (controller) => {
            controller.enqueue(Buffer.concat([CONTENT, new Uint8Array(2_000_000)]));
            controller.close();
          },
        }),
      );
    handle = whole;
    // Too long, so the host's copy is taken in the end.
    expect((await load([FILE], store)).largest).toBeLessThanOrEqual(1 << 20);
  });

  test.each([
    ["damaged", new Uint8Array(CONTENT.length)],
    ["cut short", CONTENT.slice(0, -1)],
    ["longer", Uint8Array.from([...CONTENT, 0])],
    ["empty", new Uint8Array()],
  ])("a %s copy is replaced by the host's", async (_, bytes) => {
    handle = whole;
    const store = memoryStore();
    store.files.set("a.bin", bytes);
    await load([FILE], store);
    expect(requests).toHaveLength(1);
    expect(Buffer.compare(store.files.get("a.bin") ?? CONTENT.slice(1), CONTENT)).toBe(0);
  });

  test("keeps nothing that the engine refused", async () => {
    handle = (_, response) => response.end(Buffer.alloc(CONTENT.length));
    const store = memoryStore();
    await expect(load([FILE], store)).rejects.toThrow("wrong hash");
    expect(store.files.size).toBe(0);
  });

  test.each<[string, CacheStorage | undefined]>([
    ["is absent", undefined],
    [
      "refuses",
      { open: () => Promise.reject(new Error("SecurityError")) } as unknown as CacheStorage,
    ],
    [
      "is full",
      {
        open: () =>
          Promise.resolve({
            match: () => Promise.reject(new Error("NotFoundError")),
            put: () => Promise.reject(new Error("QuotaExceededError")),
          }),
      } as unknown as CacheStorage,
    ],
  ])("falls back quietly where the browser's cache %s", async (_, storage) => {
    handle = whole;
    const { taken } = await load([FILE], await openStore(storage));
    expect(taken.has("a.bin")).toBe(true);
  });
});

describe("the manifest", () => {
  test("is read whole", async () => {
    handle = (_, response) => response.end('{"format":"halfdepth-pack"}');
    const bytes = await fetchManifest(base, new AbortController().signal, PATIENCE);
    expect(new TextDecoder().decode(bytes)).toBe('{"format":"halfdepth-pack"}');
  });

  test("may not be endless", async () => {
    handle = (_, response) => {
      const more = () => {
        while (response.write(CONTENT));
        response.once("drain", more);
      };
      more();
    };
    const reading = fetchManifest(base, new AbortController().signal, PATIENCE);
    await expect(reading).rejects.toMatchObject({ name: "DownloadError" });
  });
});
