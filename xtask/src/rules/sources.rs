//! What every Rust source keeps: heads, sizes, comment width, typed values, no unsafe code outside
//! the kernels.

use super::lexer::{code_of, tokens, without_tests};
use super::{files, read, rust, shown};
use crate::run::root;

#[test]
fn every_module_has_a_head() {
    let mut faults = Vec::new();
    for path in rust() {
        let text = read(&path);
        let head = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        if !head.starts_with("//!") {
            faults.push(shown(&path));
        }
    }
    assert!(faults.is_empty(), "no `//!` head: {faults:#?}");
}

#[test]
fn node_does_no_arithmetic_on_amounts() {
    const FORBIDDEN: &[&str] =
        &[".plus(", ".minus(", ".mul_div_", "Amount(", "Amount::sum", "checked_add", "checked_sub", "checked_mul"];
    let mut faults = Vec::new();
    for path in files(&root().join("crates/node/src"), "rs") {
        for (line, text) in read(&path).lines().enumerate() {
            if FORBIDDEN.iter().any(|word| text.contains(word)) && !text.trim_start().starts_with("//") {
                faults.push(format!("{}:{}: {}", shown(&path), line + 1, text.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "arithmetic on amounts belongs to `ledger`: {faults:#?}");
}

#[test]
fn no_file_is_over_a_thousand_lines_and_none_is_called_utils() {
    let mut faults = Vec::new();
    for path in files(&root().join("crates"), "rs") {
        let lines = read(&path).lines().count();
        if lines > 1000 {
            faults.push(format!("{}: {lines} lines", shown(&path)));
        }
        if path.file_stem().is_some_and(|stem| stem == "utils" || stem == "util" || stem == "helpers") {
            faults.push(format!("{}: name it for what it does", shown(&path)));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn only_kernels_hold_unsafe_code() {
    let mut faults = Vec::new();
    for path in files(&root().join("crates"), "rs") {
        // The second ends a test program whose nodes still run.
        let allowed = path.starts_with(root().join("crates/engine/src/kernels"))
            || path == root().join("crates/gateway/tests/main/exit.rs");
        for (line, text) in read(&path).lines().enumerate() {
            let code = text.split("//").next().unwrap_or_default();
            if !allowed && (code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")) {
                faults.push(format!("{}:{}", shown(&path), line + 1));
            }
        }
    }
    assert!(faults.is_empty(), "unsafe code outside the engine's kernels: {faults:#?}");
}

/// Lines of comments over this width are counted.
const COMMENT_WIDTH: usize = 100;

/// How many comment lines are over the width. The count may only fall; at zero the constant goes.
const WIDE_COMMENTS: usize = 380;

#[test]
fn comments_are_at_most_a_hundred_columns_wide() {
    let mut wide = Vec::new();
    for path in rust() {
        let mut fenced = false;
        for (line, text) in read(&path).lines().enumerate() {
            let Some(comment) = text.trim_start().strip_prefix("//") else {
                fenced = false;
                continue;
            };
            let comment = comment.trim_start_matches(['/', '!']).trim_start();
            fenced ^= comment.starts_with("```");
            // Tables and code have lines of their own.
            if text.chars().count() > COMMENT_WIDTH && !fenced && !comment.starts_with('|') {
                wide.push(format!("{}:{}", shown(&path), line + 1));
            }
        }
    }
    assert!(wide.len() <= WIDE_COMMENTS, "{} comment lines are over {COMMENT_WIDTH}: {wide:#?}", wide.len());
}

#[test]
fn public_functions_of_node_take_and_give_typed_values() {
    let mut untyped = Vec::new();
    for path in files(&root().join("crates/node/src"), "rs") {
        untyped.extend(untyped_functions(&read(&path)).into_iter().map(|name| format!("{}: {name}", shown(&path))));
    }
    assert!(untyped.is_empty(), "{} with `serde_json::Value`: {untyped:#?}", untyped.len());
}

/// The functions with `pub` before them whose parameters or result name `Value`.
fn untyped_functions(text: &str) -> Vec<String> {
    let (code, _) = without_tests(&code_of(text));
    let tokens = tokens(&code);
    let mut found = Vec::new();
    for at in (0..tokens.len()).filter(|at| tokens[*at] == "fn") {
        let before = tokens[..at].iter().rev().take_while(|word| !matches!(**word, ";" | "{" | "}" | "]"));
        let signature = tokens[at..].iter().take_while(|word| !matches!(**word, ";" | "{"));
        if before.into_iter().any(|word| *word == "pub") && signature.into_iter().any(|word| *word == "Value") {
            found.push(tokens.get(at + 1).copied().unwrap_or_default().to_owned());
        }
    }
    found
}

#[test]
fn untyped_functions_are_found_by_their_signatures() {
    let text = "pub async fn a(&self) -> Result<Value> { fn b(x: Value) {} }\n#[must_use]\npub(crate) fn c(v: &[Value]);\n\
                pub fn d() -> u8 { let x: Value; }\n// pub fn e() -> Value\n";
    assert_eq!(untyped_functions(text), ["a", "c"]);
}

/// What of `api` is untyped on purpose, by function or type.
const UNTYPED_IN_API: &[&str] = &[
    // The OpenAPI document itself, which is generated.
    "crates/api/src/openapi.rs: document",
];

#[test]
fn functions_and_types_of_the_api_are_typed() {
    let mut untyped = Vec::new();
    for path in files(&root().join("crates/api/src"), "rs") {
        let text = read(&path);
        let found = untyped_functions(&text).into_iter().chain(untyped_types(&text));
        untyped.extend(found.map(|name| format!("{}: {name}", shown(&path))));
    }
    untyped.retain(|name| !UNTYPED_IN_API.contains(&name.as_str()));
    assert!(untyped.is_empty(), "give it a type, or list it with the reason: {untyped:#?}");
}

/// The structs and enums with `Value` in a member.
fn untyped_types(text: &str) -> Vec<String> {
    let (code, _) = without_tests(&code_of(text));
    let tokens = tokens(&code);
    let mut found = Vec::new();
    for at in (0..tokens.len()).filter(|at| matches!(tokens[*at], "struct" | "enum")) {
        let mut depth = 0;
        let ends = |word: &&&str| {
            match **word {
                "{" | "(" => depth += 1,
                "}" | ")" => depth -= 1,
                _ => {}
            }
            !(depth == 0 && matches!(**word, ";" | "}"))
        };
        if tokens[at..].iter().take_while(ends).any(|word| *word == "Value") {
            found.push(tokens.get(at + 1).copied().unwrap_or_default().to_owned());
        }
    }
    found
}

#[test]
fn untyped_types_are_found_by_their_members() {
    let text =
        "pub struct A { b: Map<String, Value> }\nstruct C(Value);\nenum D { E { f: u8 }, G }\nfn h() -> Value {}";
    assert_eq!(untyped_types(text), ["A", "C"]);
}
