#!/usr/bin/env node
// Compiles the contracts of the product and writes artifacts/<Name>.json: {abi, bytecode, deployedBytecodeHash}.
// `--check` compiles and compares instead of writing, so that CI proves the committed bytecode is the sources'.
const crypto = require("crypto");
const fs = require("fs");
const path = require("path");
const solc = require("solc");

const ROOT = path.join(__dirname, "..");
const OUT = path.join(ROOT, "artifacts");
const CONTRACTS = ["Open", "WOPEN", "Datanets", "Contributions", "Splitter", "Params", "Models", "Verifier", "Payouts", "Channels"];

const sources = {};
for (const name of CONTRACTS) {
  const file = `src/${name}.sol`;
  if (fs.existsSync(path.join(ROOT, file))) sources[file] = { content: fs.readFileSync(path.join(ROOT, file), "utf8") };
}

const input = {
  language: "Solidity",
  sources,
  settings: {
    evmVersion: "cancun",
    optimizer: { enabled: true, runs: 10000 },
    metadata: { bytecodeHash: "none", appendCBOR: false },
    remappings: ["@openzeppelin/=node_modules/@openzeppelin/"],
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
  },
};

const read = (name) => {
  const file = path.join(ROOT, name);
  return fs.existsSync(file) ? { contents: fs.readFileSync(file, "utf8") } : { error: "File not found: " + name };
};

const output = JSON.parse(solc.compile(JSON.stringify(input), { import: read }));
const errors = (output.errors || []).filter((e) => e.severity === "error");
if (errors.length > 0) {
  console.error(errors.map((e) => e.formattedMessage).join("\n"));
  process.exit(1);
}

const check = process.argv.includes("--check");
const stale = [];
fs.mkdirSync(OUT, { recursive: true });
for (const file of Object.keys(sources)) {
  const name = path.basename(file, ".sol");
  const { abi, evm } = output.contracts[file][name];
  const deployed = evm.deployedBytecode.object;
  const artifact = {
    contractName: name,
    compiler: solc.version(),
    abi,
    bytecode: "0x" + evm.bytecode.object,
    // With immutables still zero; tells two builds apart, is not the hash of the code on chain.
    deployedBytecodeHash: "sha256:" + crypto.createHash("sha256").update(Buffer.from(deployed, "hex")).digest("hex"),
    deployedBytes: deployed.length / 2,
  };
  const text = JSON.stringify(artifact, null, 1) + "\n";
  const target = path.join(OUT, `${name}.json`);
  if (!check) fs.writeFileSync(target, text);
  else if (!fs.existsSync(target) || fs.readFileSync(target, "utf8") !== text) stale.push(name);
  if (!check) console.log(`${name}: ${artifact.deployedBytes} bytes`);
}
if (stale.length > 0) {
  console.error(`artifacts differ from the sources: ${stale.join(", ")}; run \`node tools/build.js\` and commit`);
  process.exit(1);
}
