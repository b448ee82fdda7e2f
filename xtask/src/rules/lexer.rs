//! As much of Rust's grammar as the rules need: code without comments, texts and tests, and its
//! tokens.

/// `text` with comments and the contents of string and character literals replaced by blanks; lines
/// stay.
pub(super) fn code_of(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    let blank = |code: &mut String, from: usize, to: usize| {
        for c in &bytes[from..to.min(bytes.len())] {
            code.push(if *c == '\n' { '\n' } else { ' ' });
        }
    };
    while at < bytes.len() {
        let end = match bytes[at] {
            '/' if bytes.get(at + 1) == Some(&'/') => line_end(&bytes, at),
            '/' if bytes.get(at + 1) == Some(&'*') => comment_end(&bytes, at),
            '"' => text_end(&bytes, at),
            'r' | 'b' | 'c' if !preceded_by_a_word(&bytes, at) => match raw_end(&bytes, at) {
                Some(end) => end,
                None => at,
            },
            '\'' => character_end(&bytes, at),
            _ => at,
        };
        if end == at {
            code.push(bytes[at]);
            at += 1;
        } else {
            blank(&mut code, at, end);
            at = end;
        }
    }
    code
}

fn preceded_by_a_word(text: &[char], at: usize) -> bool {
    at > 0 && (text[at - 1].is_alphanumeric() || text[at - 1] == '_')
}

fn line_end(text: &[char], at: usize) -> usize {
    (at..text.len()).find(|i| text[*i] == '\n').unwrap_or(text.len())
}

fn comment_end(text: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut i = at;
    while i + 1 < text.len() {
        match (text[i], text[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => {
                (depth, i) = (depth - 1, i + 2);
                if depth == 0 {
                    return i;
                }
            }
            _ => i += 1,
        }
    }
    text.len()
}

fn text_end(text: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while i < text.len() {
        match text[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    text.len()
}

/// The end of a raw or byte string that begins at `at`, if one does.
fn raw_end(text: &[char], at: usize) -> Option<usize> {
    let mut i = at;
    while matches!(text.get(i), Some('b' | 'c')) {
        i += 1;
    }
    if text.get(i) != Some(&'r') {
        return (i > at && text.get(i) == Some(&'"')).then(|| text_end(text, i));
    }
    i += 1;
    let hashes = text[i..].iter().take_while(|c| **c == '#').count();
    i += hashes;
    if text.get(i) != Some(&'"') {
        return None;
    }
    let closes =
        |j: &usize| text[*j] == '"' && text[j + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    Some((i + 1..text.len()).find(closes).map_or(text.len(), |j| j + 1 + hashes))
}

/// The end of a character literal that begins at `at`; `at` itself for a lifetime.
fn character_end(text: &[char], at: usize) -> usize {
    match (text.get(at + 1), text.get(at + 2)) {
        (Some('\\'), _) => (at + 3..text.len()).find(|i| text[*i] == '\'').map_or(text.len(), |i| i + 1),
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}

/// Words, numbers, `::` and single marks.
pub(super) fn tokens(code: &str) -> Vec<&str> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if word(first) {
            rest.find(|c| !word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        found.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    found
}

/// `code` without the items under `#[cfg(test)]`, and the names of the modules among them that have
/// files.
pub(super) fn without_tests(code: &str) -> (String, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::with_capacity(code.len());
    let mut modules = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find(MARK) {
        kept.push_str(&rest[..start]);
        let item = &rest[start + MARK.len()..];
        let length = item_length(item);
        let words = tokens(&item[..length]);
        if let Some(at) = words.iter().position(|word| *word == "mod").filter(|_| item[..length].ends_with(';')) {
            modules.extend(words.get(at + 1).map(|name| (*name).to_owned()));
        }
        rest = &item[length..];
    }
    kept.push_str(rest);
    (kept, modules)
}

/// The length of the item at the start of `code`: up to its `;`, or to the brace that closes its
/// body.
fn item_length(code: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && c == '}' {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn comments_texts_and_tests_are_no_code() {
    let text = "use a::b; // use c\nconst X: &str = \"use d\\\"\"; /* use /* e */ f */ let l: &'a str = r#\"use \"g\"#;\n\
                let c = '\"'; fn r() {}\n#[cfg(test)]\nmod tests { use h; }\n#[cfg(test)]\nmod apart;\nuse i::j;";
    let (code, modules) = without_tests(&code_of(text));
    let used: Vec<&str> = tokens(&code).windows(2).filter(|pair| pair[0] == "use").map(|pair| pair[1]).collect();
    assert_eq!(used, ["a", "i"]);
    assert_eq!(modules, ["apart"]);
}
