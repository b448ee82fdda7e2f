//! How the program speaks on a terminal: steps with elapsed time, figures, colours only where a person looks.

use std::io::IsTerminal;
use std::time::Instant;

/// Whether standard error is a terminal and nobody asked for plain text.
pub(crate) fn colours_on_stderr() -> bool {
    std::io::stderr().is_terminal() && !plain_asked()
}

/// `NO_COLOR` set to anything but nothing (no-color.org).
fn plain_asked() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Tells a long run step by step on standard output.
pub(crate) struct Voice {
    started: Instant,
    colours: bool,
}

impl Voice {
    /// A voice whose clock starts now.
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), colours: std::io::stdout().is_terminal() && !plain_asked() }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Seconds since the start.
    pub(crate) fn elapsed_s(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Begins a step.
    pub(crate) fn step(&self, title: &str) {
        println!("\n{} {}", self.paint("2", &format!("[{:7.1} s]", self.elapsed_s())), self.paint("1;36", title));
    }

    /// A line of the step: a name and what it is.
    pub(crate) fn figure(&self, name: &str, value: impl std::fmt::Display) {
        println!("  {:<22} {value}", name);
    }

    /// A line without a name.
    pub(crate) fn line(&self, text: impl std::fmt::Display) {
        println!("  {text}");
    }

    /// A line that says something went as promised.
    pub(crate) fn good(&self, text: impl std::fmt::Display) {
        println!("  {} {text}", self.paint("32", "ok"));
    }

    /// A line that says something did not.
    pub(crate) fn bad(&self, text: impl std::fmt::Display) {
        println!("  {} {text}", self.paint("31", "FAULT"));
    }
}

/// The beginning of a text in one line, at most `chars` characters.
pub(crate) fn short(text: &str, chars: usize) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let flat = openledger_datanet::printable(&flat);
    if flat.chars().count() <= chars {
        return flat;
    }
    let mut cut: String = flat.chars().take(chars.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_characters() {
        assert_eq!(short("a\n  b", 10), "a b");
        assert_eq!(short("äöüß-more", 5), "äöüß…");
    }
}
