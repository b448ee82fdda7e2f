//! What the program prints: `print!`, `println!` and `eprintln!` of this crate never end a run.
//!
//! # Place in the flow
//!
//! Declared first in `main.rs`, so that the macros below stand in for the standard ones in every
//! module: those panic when a reader has gone (`| head -1`, a closed terminal), and a message would
//! decide over the work it reports.
//!
//! # Invariants
//!
//! - A reader that has gone loses what it did not read; the work goes on and its exit status is its
//!   own.
//! - A result that could not be written for another reason (a full disk) is a failure at the end
//!   ([`unwritten`]).
//!
//! # Not here
//!
//! The wording and colours (`console`), logs (`tracing`, set up in `main.rs`).

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

/// Why standard output could not be written, once it could not.
static UNWRITTEN: OnceLock<String> = OnceLock::new();

/// What the operating system says of a terminal that has gone; it has no [`ErrorKind`] of its own.
const EIO: i32 = 5;

/// Writes to standard output.
pub(crate) fn out(text: Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout.write_fmt(text).and_then(|()| stdout.flush())
        && error.kind() != ErrorKind::BrokenPipe
        && error.raw_os_error() != Some(EIO)
    {
        UNWRITTEN.get_or_init(|| error.to_string());
    }
}

/// Writes to standard error; a message that cannot be written is lost.
pub(crate) fn message(text: Arguments<'_>) {
    let _ = std::io::stderr().lock().write_fmt(text);
}

/// Why some of the results did not reach standard output; `None` when all did or their reader has
/// gone.
pub(crate) fn unwritten() -> Option<&'static str> {
    UNWRITTEN.get().map(String::as_str)
}

/// As [`std::println!`], without its panic.
macro_rules! println {
    () => { $crate::output::out(format_args!("\n")) };
    ($($text:tt)*) => { $crate::output::out(format_args!("{}\n", format_args!($($text)*))) };
}

/// As [`std::eprintln!`], without its panic.
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::output::message(format_args!("{}\n", format_args!($($text)*))) };
}
