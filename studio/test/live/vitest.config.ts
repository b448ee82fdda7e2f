/** Tests that need a running node: `OPENLEDGER_URL`, `OPENLEDGER_TOKEN` and the seed of its network in `OPENLEDGER_SEED`. */

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { environment: "node", root: import.meta.dirname, include: ["*.live.ts"], testTimeout: 600_000 },
});
