// llama.cpp through node-llama-cpp: the rates of bench.py's cases, printed as JSON.
//
// Usage: node llama_peer.mjs PACKAGES GGUF; PACKAGES holds node_modules, GGUF is gguf_model.py's folder; bench.py's cases
// come as JSON on the standard input.
//
// A set of adapters belongs to a context, and a context's sequences share each batch: so sequences of one adapter (or of none) lie
// in one context, and each further adapter has a context of its own. That is also what llama.cpp's server does: slots with
// different adapters never share a batch. One thread does the arithmetic; CPU time is that of the whole process.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [packages, folder] = process.argv.slice(2);
const entry = createRequire(join(resolve(packages), "package.json")).resolve("node-llama-cpp");
const { getLlama } = await import(pathToFileURL(entry).href);
const { cases, prefills, check } = JSON.parse(readFileSync(0, "utf8"));

const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, maxThreads: 1, logLevel: "error", progressLogs: false });
const model = await llama.loadModel({ modelPath: join(folder, "base.gguf") });

/** A context for `sequences` of `length` tokens with one adapter, by name. */
async function context(adapter, sequences, length) {
    const lora = adapter === null ? undefined : { adapters: [{ filePath: join(folder, `${adapter}.gguf`) }] };
    return model.createContext({ sequences, contextSize: length, batchSize: 512, threads: 1, lora });
}

/** Seconds of the process and of the clock that `work` takes. */
async function spent(work) {
    const [cpu, clock] = [process.cpuUsage(), performance.now()];
    await work();
    const used = process.cpuUsage(cpu);
    return { cpu: (used.user + used.system) / 1e6, wall: (performance.now() - clock) / 1e3 };
}

/** Ids that follow `prompts`, `count` each, and what they and the prompts took; sequence i has adapter `adapters[i]`. */
async function decode(adapters, prompts, count) {
    const length = prompts[0].length + count + 8;
    const contexts = new Map();
    for (const adapter of new Set(adapters)) {
        contexts.set(adapter, await context(adapter, adapters.filter((one) => one === adapter).length, length));
    }
    const sequences = adapters.map((adapter) => contexts.get(adapter).getSequence());
    // All but the last token, so that what follows is steps of one token alone.
    const read = await spent(() =>
        Promise.all(sequences.map((sequence, at) => sequence.evaluateWithoutGeneratingNewTokens(prompts[at].slice(0, -1)))),
    );
    const ids = sequences.map(() => []);
    const written = await spent(async () => {
        const answers = sequences.map((sequence, at) =>
            sequence.evaluate([prompts[at].at(-1)], { temperature: 0, yieldEogToken: true }),
        );
        // Together, so that a context's sequences share its batch.
        for (let step = 0; step < count; step++) {
            const made = await Promise.all(answers.map((answer) => answer.next()));
            made.forEach((one, at) => ids[at].push(one.value));
        }
        await Promise.all(answers.map((answer) => answer.return()));
    });
    for (const one of contexts.values()) await one.dispose();
    return { ids, read, written };
}

const rates = {};
for (const { name, adapters, prompts, tokens } of cases) {
    const { written } = await decode(adapters, prompts, tokens);
    const made = adapters.length * tokens;
    rates[name] = [{ cpu: made / written.cpu, wall: made / written.wall }];
}
for (const { name, adapter, prompt } of prefills) {
    const { read } = await decode([adapter], [prompt], 0);
    const tokens = prompt.length - 1;
    rates[name] = [{ cpu: tokens / read.cpu, wall: tokens / read.wall }];
}
const greedy = {};
for (const { adapter, prompt, tokens } of check) greedy[adapter ?? "base"] = (await decode([adapter], [prompt], tokens)).ids[0];
// Which of the prebuilt libraries it chose for this processor.
const variant = /libggml-cpu\S*\.so/.exec(readFileSync("/proc/self/maps", "utf8"))?.[0] ?? "no variant found";
console.log(JSON.stringify({ rates, greedy, notes: [`prebuilt ${variant}; ${llama.systemInfo.trim()}`] }));
process.exit(0);
