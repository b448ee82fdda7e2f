"""Lets schemathesis send files of records: they are text to it."""

import schemathesis

schemathesis.serializer.alias("application/jsonl", "text/plain")
