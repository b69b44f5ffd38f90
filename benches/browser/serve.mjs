// Serves folders to the bench's pages. In: { "/prefix/": folder }. Out: an address on this machine.
// Cross-origin isolated, unlike our own pages' hosts: the peers' threads need it, and it costs ours nothing.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const types = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/** Listens on a free port; `close` ends it. The longest prefix that fits a path wins. */
export async function serve(mounts) {
  const prefixes = Object.keys(mounts).sort((a, b) => b.length - a.length);
  const server = createServer((request, response) => {
    answer(request, response, prefixes, mounts).catch((error) => {
      response.writeHead(404).end(String(error.message));
    });
  });
  await new Promise((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => server.closeAllConnections() ?? server.close(),
  };
}

async function answer(request, response, prefixes, mounts) {
  const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
  const prefix = prefixes.find((known) => path.startsWith(known));
  if (prefix === undefined) throw new Error(`nothing is served at ${path}`);
  // Normal first, so that no `..` is left to leave the folder by.
  const file = join(mounts[prefix], normalize(`/${path.slice(prefix.length)}`));
  const { size } = await stat(file);
  const [start, end] = range(request.headers.range, size);
  response.writeHead(request.headers.range === undefined ? 200 : 206, {
    "Content-Type": types[extname(file)] ?? "application/octet-stream",
    "Content-Length": end - start + 1,
    "Content-Range": `bytes ${start}-${end}/${size}`,
    "Accept-Ranges": "bytes",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
  });
  if (request.method === "HEAD" || size === 0) return response.end();
  createReadStream(file, { start, end })
    .on("error", (error) => response.destroy(error))
    .pipe(response);
}

function range(header, size) {
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(header ?? "") ?? [];
  if (from === undefined) return [0, size - 1];
  return [Number(from), to === "" ? size - 1 : Math.min(Number(to), size - 1)];
}
