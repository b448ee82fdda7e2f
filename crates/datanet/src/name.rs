//! Names that files bring: which are fit to be kept, in which spelling they are compared, and how
//! any of them is shown.
//!
//! **Invariant:** what [`printable`] returns moves no cursor, turns no text around and stays on one
//! line. **Invariant:** two spellings of one name (Unicode composed or decomposed) are one name
//! wherever names are compared. **Not here:** whether a name stands for somebody (`protocol` knows
//! accounts only).

use unicode_normalization::UnicodeNormalization;

/// The longest text that [`printable`] shows, in characters.
const SHOWN_CHARS: usize = 80;

/// Whether a character acts instead of being seen: controls, line separators, direction marks,
/// invisible fillers.
///
/// The zero-width joiners U+200C and U+200D pass, because names in several scripts need them.
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether a text shows nothing: only white space, joiners and characters that act instead of being
/// seen.
pub(crate) fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || is_unprintable(c) || matches!(c, '\u{200c}' | '\u{200d}'))
}

/// A name in the spelling in which names are kept and compared: Unicode NFC, without white space at
/// either end.
#[must_use]
pub fn one_spelling(name: &str) -> String {
    name.nfc().collect::<String>().trim().to_owned()
}

/// A text as it can be shown in a terminal, log or page: one line, at most 80 characters, acting
/// characters as `\u{…}`.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut shown = String::new();
    for (at, c) in text.chars().enumerate() {
        if at == SHOWN_CHARS {
            shown.push('…');
            break;
        }
        if is_unprintable(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A text of any length as it can be shown in a terminal: line breaks and tabs stay, other acting
/// characters are written as `\u{…}`.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unprintable(c) && !matches!(c, '\n' | '\t') {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_shown_as_an_escape() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}c\nd"), "a\\u{1b}[2Jb\\u{202e}c\\u{a}d");
        assert_eq!(printable(&"x".repeat(100)).chars().count(), SHOWN_CHARS + 1);
        assert_eq!(printable("Jürgen 李"), "Jürgen 李");
    }

    #[test]
    fn an_answer_keeps_its_lines_and_moves_no_cursor() {
        assert_eq!(printable_lines("one\n\ttwo \u{1b}[2J\r"), "one\n\ttwo \\u{1b}[2J\\u{d}");
    }

    #[test]
    fn joiners_alone_say_nothing() {
        assert!(is_blank("\u{feff} \u{200d}\t"));
        assert!(!is_blank("\u{200d}x"));
    }
}
