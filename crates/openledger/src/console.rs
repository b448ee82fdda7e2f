//! Output to a terminal: steps with elapsed time, figures, tables, and colours where standard
//! output is one.

use std::io::IsTerminal;
use std::time::Instant;

/// Whether standard error is a terminal and `NO_COLOR` is unset.
pub(crate) fn colours_on_stderr() -> bool {
    std::io::stderr().is_terminal() && !no_colour()
}

/// `NO_COLOR` set to anything but nothing (no-color.org).
fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Prints the steps of a long run to standard output.
pub(crate) struct Console {
    started: Instant,
    colours: bool,
}

impl Console {
    /// A console whose clock starts now.
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), colours: std::io::stdout().is_terminal() && !no_colour() }
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

    /// A line of the step: a name and its value.
    pub(crate) fn figure(&self, name: &str, value: impl std::fmt::Display) {
        println!("  {:<22} {value}", name);
    }

    /// A line without a name.
    pub(crate) fn line(&self, text: impl std::fmt::Display) {
        println!("  {text}");
    }

    /// A line for a check that passed.
    pub(crate) fn good(&self, text: impl std::fmt::Display) {
        println!("  {} {text}", self.paint("32", "ok"));
    }

    /// A line for a check that failed.
    pub(crate) fn bad(&self, text: impl std::fmt::Display) {
        println!("  {} {text}", self.paint("31", "FAULT"));
    }
}

/// Columns under their heads, one line a row, without a line end after the last. A column of whole
/// numbers stands to the right, any other to the left.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let columns: Vec<(usize, bool)> = head
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let cells: Vec<&String> = rows.iter().filter_map(|row| row.get(at)).collect();
            let width = cells.iter().map(|cell| cell.chars().count()).fold(name.chars().count(), usize::max);
            (width, cells.iter().all(|cell| cell.bytes().all(|byte| byte.is_ascii_digit())))
        })
        .collect();
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let padded = |(cell, &(width, is_number)): (&String, &(usize, bool))| {
        if is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
    };
    let lines = std::iter::once(&head).chain(rows).map(|row| {
        let cells: Vec<String> = row.iter().zip(&columns).map(padded).collect();
        cells.join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A text of any length in one line. Characters that act on a terminal are written as `\u{…}`.
pub(crate) fn one_line(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    openledger_datanet::printable_lines(&flat)
}

/// The beginning of a text in one line, at most `chars` characters; see [`one_line`].
pub(crate) fn short(text: &str, chars: usize) -> String {
    let flat = one_line(text);
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
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_end_at_one_place() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["9", "fähre", "2"]), row(["10", "tides", ""])];
        let lines = ["id  name   contributions", " 9  fähre              2", "10  tides"];
        assert_eq!(table(&["id", "name", "contributions"], &rows), lines.join("\n"));
        assert_eq!(table(&["id", "name"], &[]), "id  name");
    }

    #[test]
    fn a_line_is_printed_whole_and_moves_no_cursor() {
        let long = "x".repeat(300);
        assert_eq!(
            one_line(&format!("{long}\r\n\u{1b}[2J\u{202e}\u{85}y")),
            format!("{long} \\u{{1b}}[2J\\u{{202e}} y")
        );
    }

    #[test]
    fn long_texts_are_cut_at_characters() {
        assert_eq!(short("a\n  b", 10), "a b");
        assert_eq!(short("äöüß-more", 5), "äöüß…");
        assert_eq!(short(&"x".repeat(300), 200).chars().count(), 200);
    }
}
