import { defineConfig } from "vitest/config";

/** Where `npm run dev` finds a node; a built Studio is served by the node itself. */
const NODE = process.env["OPENLEDGER_URL"] ?? "http://127.0.0.1:7070";

export default defineConfig({
  esbuild: { jsx: "automatic" },
  build: {
    target: "es2022",
    // The node's policy allows no inline script, and every browser we support preloads by itself.
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { proxy: { "/api": NODE } },
  test: { environment: "node", include: ["test/**/*.test.{ts,tsx}"] },
});
