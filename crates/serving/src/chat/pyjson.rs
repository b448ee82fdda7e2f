//! The filter `tojson` as chat templates expect it: Python's `json.dumps(value,
//! ensure_ascii=False)`.
//!
//! Not HTML-safe, unlike Jinja's own: prompts are no pages. Keys keep their order.

use std::io::{self, Write};

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// `, ` and `: ` between things, on one line.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// `value | tojson(indent=N)`; Python's other settings are taken and change nothing.
pub(super) fn filter(value: Value, settings: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = settings.get("indent")?;
    for name in ["ensure_ascii", "sort_keys", "separators"] {
        let _: Option<Value> = settings.get(name)?;
    }
    settings.assert_all_used()?;
    let mut bytes = Vec::new();
    let written = match indent {
        // More would only be there to blow up the prompt.
        Some(width) => {
            let spaces = " ".repeat(width.min(16));
            let pretty = PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut Serializer::with_formatter(&mut bytes, pretty))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut bytes, Spaced)),
    };
    let failed =
        |reason: String| Error::new(ErrorKind::InvalidOperation, format!("cannot be written as JSON: {reason}"));
    written.map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map(Value::from).map_err(|error| failed(error.to_string()))
}
