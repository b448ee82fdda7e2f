"""The stock OpenAI client for Python against a server at argv[1]: every claim is an assertion."""

import json
import sys

from openai import APIStatusError, BadRequestError, NotFoundError, OpenAI

client = OpenAI(base_url=sys.argv[1] + "/v1", api_key="night-desk", max_retries=0)
MESSAGES = [{"role": "user", "content": "the owl"}]


def chat(**more):
    return client.chat.completions.create(**{"model": "base", "messages": MESSAGES, "max_tokens": 8, "temperature": 0, **more})


def raises(kind, call, code=None, param=None):
    try:
        call()
    except kind as error:
        assert isinstance(error, APIStatusError), error
        assert error.code == code and error.param == param, (error.code, error.param, error.body)
        return
    raise AssertionError(f"no {kind.__name__}")


# Models, and a plain answer.
assert [model.id for model in client.models.list()] == ["base", "owls"]
assert client.models.retrieve("owls").parent == "base"
whole = chat()
text = whole.choices[0].message.content
assert len(text) >= 4 and whole.choices[0].finish_reason in ("length", "stop") and whole.object == "chat.completion"
assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
assert chat(model="owls").choices[0].message.content != text
raw = client.chat.completions.with_raw_response.create(model="owls", messages=MESSAGES, max_tokens=2)
assert raw.headers["x-openledger-adapter"].startswith("0x") and raw.parse().choices

# The same as a stream.
chunks = list(chat(stream=True, stream_options={"include_usage": True}))
assert chunks[0].choices[0].delta.role == "assistant"
assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text
assert chunks[-1].usage.total_tokens == whole.usage.total_tokens and chunks[-1].choices == []
assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
with client.chat.completions.stream(model="base", messages=MESSAGES, max_tokens=8, temperature=0) as events:
    for _ in events:
        pass
    assert events.get_final_completion().choices[0].message.content == text

# How likely tokens were, whole and streamed.
scored = chat(logprobs=True, top_logprobs=3).choices[0].logprobs.content
assert len(scored) == whole.usage.completion_tokens
assert all(token.logprob <= 0 and len(token.top_logprobs) == 3 for token in scored)
assert b"".join(bytes(token.bytes) for token in scored).decode(errors="replace").startswith(text[:3])
streamed = [c.choices[0].logprobs for c in chat(logprobs=True, top_logprobs=3, stream=True) if c.choices]
streamed = [token for logprobs in streamed if logprobs for token in logprobs.content]
assert [token.token for token in streamed] == [token.token for token in scored]

# Several answers, stop texts, seeds.
several = chat(n=3, temperature=1.5, seed=7)
assert len({choice.message.content for choice in several.choices}) > 1
assert [choice.index for choice in several.choices] == [0, 1, 2]
assert chat(n=3, temperature=1.5, seed=7).choices == several.choices
stop = text[2:4]
stopped = chat(stop=[stop]).choices[0]
assert stopped.finish_reason == "stop" and stopped.message.content == text[: text.index(stop)]
assert "".join(c.choices[0].delta.content or "" for c in chat(stop=stop, stream=True)) == stopped.message.content

# Completions: echo, token ids, other servers' extensions.
echo = client.completions.create(model="base", prompt="the owl", echo=True, logprobs=1, max_tokens=2).choices[0]
assert echo.text.startswith("the owl") and echo.logprobs.token_logprobs[0] is None
assert len(echo.logprobs.tokens) == len(echo.logprobs.top_logprobs) == len(echo.logprobs.text_offset)
by_ids = client.completions.create(model="base", prompt=[5, 9, 70], max_tokens=3, extra_body={"ignore_eos": True})
assert by_ids.usage.prompt_tokens == 3 and by_ids.usage.completion_tokens == 3

# Embeddings: the client asks for base64 unless told otherwise.
packed = client.embeddings.create(model="base", input=["the owl", "a heron"])
plain = client.embeddings.create(model="base", input=["the owl", "a heron"], encoding_format="float")
assert len(packed.data) == 2
for left, right in zip(packed.data, plain.data):
    assert len(left.embedding) == 32
    assert all(abs(a - b) < 1e-6 for a, b in zip(left.embedding, right.embedding))

# What cannot be done is a typed exception that names the member.
tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
raises(BadRequestError, lambda: chat(tools=tools), param="tools")
raises(BadRequestError, lambda: chat(temperature=9), param="temperature")
raises(NotFoundError, lambda: chat(model="herons"), code="model_not_found", param="model")
raises(NotFoundError, lambda: chat(model="herons", stream=True), code="model_not_found", param="model")
raises(NotFoundError, lambda: client.models.retrieve("herons"), code="model_not_found", param="model")

# A stream that is left early leaves a server that answers.
with chat(stream=True) as left:
    next(iter(left))
assert chat().choices[0].message.content == text

print(json.dumps({"client": "openai-python", "ok": True}))
