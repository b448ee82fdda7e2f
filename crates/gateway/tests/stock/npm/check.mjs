// The stock OpenAI client for JavaScript against a server at argv[2]: every claim is an assertion.
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "night-desk", maxRetries: 0 });
const messages = [{ role: "user", content: "the owl" }];
const chat = (more = {}) => client.chat.completions.create({ model: "base", messages, max_tokens: 8, temperature: 0, ...more });

async function refused(call, kind, { code = null, param = null }) {
  const error = await call().then(() => null, (error) => error);
  assert.ok(error instanceof kind, `${error}`);
  assert.deepEqual([error.code ?? null, error.param ?? null], [code, param]);
}

async function all(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const names = [];
for await (const model of client.models.list()) names.push(model.id);
assert.deepEqual(names, ["base", "owls"]);

const whole = await chat();
const text = whole.choices[0].message.content;
assert.ok(text.length > 0);
assert.ok(["length", "stop"].includes(whole.choices[0].finish_reason));
assert.notEqual((await chat({ model: "owls" })).choices[0].message.content, text);

const chunks = await all(await chat({ stream: true, stream_options: { include_usage: true } }));
assert.equal(chunks[0].choices[0].delta.role, "assistant");
assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""), text);
assert.equal(chunks.at(-1).usage.total_tokens, whole.usage.total_tokens);
assert.equal(await client.chat.completions.stream({ model: "base", messages, max_tokens: 8, temperature: 0 }).finalContent(), text);

const scored = (await chat({ logprobs: true, top_logprobs: 2 })).choices[0].logprobs.content;
assert.equal(scored.length, whole.usage.completion_tokens);
assert.ok(scored.every((token) => token.logprob <= 0 && token.top_logprobs.length === 2));

const several = await chat({ n: 3, temperature: 1.5, seed: 7 });
assert.deepEqual(several.choices.map((choice) => choice.index), [0, 1, 2]);
assert.ok(new Set(several.choices.map((choice) => choice.message.content)).size > 1);

const stop = text.slice(2, 4);
const stopped = (await chat({ stop: [stop] })).choices[0];
assert.deepEqual([stopped.finish_reason, stopped.message.content], ["stop", text.slice(0, text.indexOf(stop))]);

const packed = await client.embeddings.create({ model: "base", input: "the owl" });
const plain = await client.embeddings.create({ model: "base", input: "the owl", encoding_format: "float" });
assert.equal(packed.data[0].embedding.length, 32);
packed.data[0].embedding.forEach((value, at) => assert.ok(Math.abs(value - plain.data[0].embedding[at]) < 1e-6));

const tools = [{ type: "function", function: { name: "look", parameters: { type: "object", properties: {} } } }];
await refused(() => chat({ tools }), OpenAI.BadRequestError, { param: "tools" });
await refused(() => chat({ model: "herons" }), OpenAI.NotFoundError, { code: "model_not_found", param: "model" });
await refused(() => chat({ model: "herons", stream: true }), OpenAI.NotFoundError, {
  code: "model_not_found",
  param: "model",
});

for await (const _ of await chat({ stream: true })) break;
assert.equal((await chat()).choices[0].message.content, text);

console.log(JSON.stringify({ client: "openai-npm", ok: true }));
