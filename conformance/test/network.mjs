/**
 * A local network of its own for one test file: `openledger dev` on a free port of the loopback, ended by its own process.
 *
 * `OPENLEDGER_BIN` names the program where it is not `target/debug/openledger`.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { keccak256, toBytes } from "viem";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** The longest a network may take to say where it listens, on a busy machine. */
const PATIENCE_MS = 120_000;

/** The key of a demo identity of the network's seed; worth nothing anywhere else. */
export function demoKey(name) {
  return keccak256(toBytes(`openledger demo identity\n1\n${name}`));
}

export const WOPEN = JSON.parse(readFileSync(join(ROOT, "contracts/artifacts/WOPEN.json"), "utf8"));
export const BYTECODE = typeof WOPEN.bytecode === "string" ? WOPEN.bytecode : WOPEN.bytecode.object;

/** Starts a network; `stop` ends it and removes its folder. */
export async function start() {
  const folder = mkdtempSync(join(tmpdir(), "openledger-conformance-"));
  const program = process.env["OPENLEDGER_BIN"] ?? join(ROOT, "target/debug/openledger");
  const child = spawn(program, ["dev", "--listen", "127.0.0.1:0", "--data", folder, "--base", join(ROOT, "models/base")], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (text) => (said += text));
  const ended = once(child, "exit");
  const stop = async () => {
    child.kill("SIGKILL");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  const since = Date.now();
  for (;;) {
    const address = written(join(folder, "node.address"));
    if (address !== "") return { http: `http://${address}/rpc`, socket: `ws://${address}/rpc`, stop };
    if (child.exitCode !== null || Date.now() - since > PATIENCE_MS) {
      await stop();
      throw new Error(`the network did not start: ${said}`);
    }
    await pause(50);
  }
}

function written(file) {
  try {
    return readFileSync(file, "utf8").trim().replace(/^http:\/\//, "");
  } catch {
    return "";
  }
}
