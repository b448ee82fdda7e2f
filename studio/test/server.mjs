/** A stand-in for a node: serves the built Studio under the node's policy, and an overview that can be exchanged. */

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname } from "node:path";

const dist = new URL("../dist/", import.meta.url);
/** A receipt that the vectors hold, and its model's manifest: what a node of any language sends. */
const vectors = new URL("../../vectors/receipt/", import.meta.url);
const details = JSON.parse(await readFile(new URL("fixtures/details.json", import.meta.url), "utf8"));
/** The key that this server knows. */
export const KEY = "olop_the-operators-token";
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};
/** The same policy as the node's, so that what it forbids fails here. */
const POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:";

/** Listens on a free port of this machine. `show` changes what is told, `fail` makes the node fail, `asked` counts. */
export async function serve(first) {
  let overview = first;
  let asked = 0;
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://node");
    const answer = (status, type, body) => {
      response.writeHead(status, {
        "content-type": type,
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
      });
      response.end(body);
    };
    if (pathname === "/api/v1/overview") asked += 1;
    if (pathname.startsWith("/api/") && overview === undefined) {
      return answer(503, "application/problem+json", JSON.stringify({ status: 503, detail: "the store is locked" }));
    }
    const { authorization } = request.headers;
    if (pathname.startsWith("/api/") && authorization !== undefined && authorization !== `Bearer ${KEY}`) {
      return answer(401, "application/problem+json", JSON.stringify({ status: 401, detail: "this key is not known" }));
    }
    if (pathname === "/api/v1/overview") return answer(200, "application/json", JSON.stringify(overview));
    const [, id, part] = /^\/api\/v1\/receipts\/([^/]+)\/(detail|bundle)$/.exec(pathname) ?? [];
    if (part !== undefined && request.headers.authorization !== `Bearer ${KEY}`) {
      return answer(401, "application/problem+json", JSON.stringify({ status: 401, detail: "a key is needed" }));
    }
    if (/^\/api\/v1\/models\/[^/]+\/manifest$/.test(pathname)) {
      return answer(200, "application/json", await readFile(new URL("manifest.json", vectors)));
    }
    if (part === "detail") return answer(200, "application/json", JSON.stringify(details[id]));
    if (part === "bundle") return answer(200, "application/json", await readFile(new URL("bundle.json", vectors)));
    const name = pathname === "/" ? "index.html" : pathname.slice(1);
    try {
      return answer(200, TYPES[extname(name)] ?? "application/octet-stream", await readFile(new URL(name, dist)));
    } catch {
      return answer(404, "text/plain", "not here");
    }
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    show: (next) => (overview = next),
    asked: () => asked,
    fail: () => (overview = undefined),
    async close() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}
