// A site of somebody else's: another origin than the page's, with pages of its own, the examples, and, under dist/, what lies where
// the page is served.
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

export interface SitePage {
  html: string;
  headers?: Record<string, string>;
}

export interface Site {
  /** With a slash at its end. */
  url: string;
  origin: string;
  close(): void;
}

export interface SiteOptions {
  pages?: Record<string, SitePage>;
  /** Further folders, by the name under which they are served. */
  folders?: Record<string, string>;
  /** Where the page is served: what this site's dist/ shows. */
  dist: string;
}

const EXAMPLES = fileURLToPath(new URL("../../examples", import.meta.url));

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

export async function serveSite({ pages = {}, folders = {}, dist }: SiteOptions): Promise<Site> {
  const roots: Record<string, string> = { examples: EXAMPLES, ...folders };

  async function answer({ url = "/" }: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent(new URL(url, "http://site").pathname).slice(1);
    const page = pages[path];
    const [root = "", ...rest] = path.split("/");
    if (page !== undefined) {
      response.writeHead(200, { "content-type": TYPES[".html"], ...page.headers }).end(page.html);
    } else if (root === "dist") {
      const found = await fetch(new URL(rest.join("/"), dist));
      const type = found.headers.get("content-type") ?? "application/octet-stream";
      response.writeHead(found.status, { "content-type": type });
      response.end(Buffer.from(await found.arrayBuffer()));
    } else if (roots[root] !== undefined) {
      const file = join(roots[root], normalize(`/${rest.join("/")}`));
      const type = TYPES[extname(file)] ?? "application/octet-stream";
      response.writeHead(200, { "content-type": type }).end(await readFile(file));
    } else {
      response.writeHead(404).end();
    }
  }

  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.writeHead(404).end());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const origin = `http://127.0.0.1:${port}`;
  return {
    ...{ url: `${origin}/`, origin },
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
