//! SPDX expressions: `OR`, `AND`, `WITH` and parentheses over licences of the table. `WITH` binds
//! closest, `OR` least.
//!
//! **Invariant:** the printed form reads back as itself. An operand that is not known makes the
//! whole not known.

use openledger_protocol::Rights;

use super::table::{self, Licence};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Token<'t> {
    Or,
    And,
    With,
    Open,
    Close,
    Word(&'t str),
}

/// How tightly the outermost operator of a printed form binds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binds {
    Or,
    And,
    Whole,
}

struct Parsed {
    spdx: String,
    binds: Binds,
    rights: Rights,
}

/// Nesting beyond this is nobody's licence.
const DEPTH: usize = 16;

/// The licence an expression names; `None` when it is not an expression or an operand is not known.
pub(super) fn read(written: &str) -> Option<Licence> {
    let tokens = tokens(written);
    let mut at = 0;
    let parsed = either(&tokens, &mut at, DEPTH)?;
    if at < tokens.len() {
        return None;
    }
    let rights = Rights { license: parsed.spdx.clone(), ..parsed.rights };
    Some(Licence { spdx: parsed.spdx, rights, known: true })
}

/// Cuts at white space, parentheses and `/` (an older spelling of `OR`).
fn tokens(written: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = written;
    while let Some(c) = rest.chars().next() {
        let end = rest.find(|c: char| c.is_whitespace() || "()/".contains(c)).unwrap_or(rest.len()).max(c.len_utf8());
        let (word, after) = rest.split_at(end);
        rest = after;
        match word {
            "(" => tokens.push(Token::Open),
            ")" => tokens.push(Token::Close),
            "/" => tokens.push(Token::Or),
            _ if c.is_whitespace() => {}
            _ if word.eq_ignore_ascii_case("or") => tokens.push(Token::Or),
            _ if word.eq_ignore_ascii_case("and") => tokens.push(Token::And),
            _ if word.eq_ignore_ascii_case("with") => tokens.push(Token::With),
            _ => tokens.push(Token::Word(word)),
        }
    }
    tokens
}

fn either(tokens: &[Token<'_>], at: &mut usize, depth: usize) -> Option<Parsed> {
    let mut left = both(tokens, at, depth)?;
    while tokens.get(*at) == Some(&Token::Or) {
        *at += 1;
        let right = both(tokens, at, depth)?;
        let spdx = format!("{} OR {}", left.spdx, right.spdx);
        left = Parsed { spdx, binds: Binds::Or, rights: wider(left.rights, right.rights) };
    }
    Some(left)
}

fn both(tokens: &[Token<'_>], at: &mut usize, depth: usize) -> Option<Parsed> {
    let mut left = operand(tokens, at, depth)?;
    while tokens.get(*at) == Some(&Token::And) {
        *at += 1;
        let right = operand(tokens, at, depth)?;
        let wrap = |side: &Parsed| {
            if side.binds < Binds::And { format!("({})", side.spdx) } else { side.spdx.clone() }
        };
        let spdx = format!("{} AND {}", wrap(&left), wrap(&right));
        left = Parsed { spdx, binds: Binds::And, rights: narrower(left.rights, right.rights) };
    }
    Some(left)
}

fn operand(tokens: &[Token<'_>], at: &mut usize, depth: usize) -> Option<Parsed> {
    if tokens.get(*at) == Some(&Token::Open) {
        *at += 1;
        let inner = either(tokens, at, depth.checked_sub(1)?)?;
        *at += 1;
        return (tokens.get(*at - 1) == Some(&Token::Close)).then_some(inner);
    }
    let licence = table::lookup(&words(tokens, at))?;
    let mut spdx = licence.spdx;
    if tokens.get(*at) == Some(&Token::With) {
        *at += 1;
        spdx = format!("{spdx} WITH {}", table::exception(&words(tokens, at))?);
    }
    Some(Parsed { spdx, binds: Binds::Whole, rights: licence.rights })
}

/// The words up to the next operator or parenthesis: a licence's name may have several.
fn words(tokens: &[Token<'_>], at: &mut usize) -> String {
    let mut name = Vec::new();
    while let Some(Token::Word(word)) = tokens.get(*at) {
        name.push(*word);
        *at += 1;
    }
    name.join(" ")
}

/// What whoever may choose between two licences can do: the wider one, the lighter one where both
/// reach equally far.
fn wider(left: Rights, right: Rights) -> Rights {
    let (mine, yours) = (left.purposes, right.purposes);
    if mine == yours {
        let (attribution, share_alike) = (left.attribution && right.attribution, left.share_alike && right.share_alike);
        Rights { attribution, share_alike, ..left }
    } else if mine.allow(yours) {
        left
    } else if yours.allow(mine) {
        right
    } else {
        // Each reaches where the other does not: together they reach everywhere, under what either
        // asks.
        let (attribution, share_alike) = (left.attribution || right.attribution, left.share_alike || right.share_alike);
        Rights { purposes: openledger_protocol::Purposes(mine.0 | yours.0), attribution, share_alike, ..left }
    }
}

fn narrower(left: Rights, right: Rights) -> Rights {
    Rights {
        purposes: left.purposes.meet(right.purposes),
        attribution: left.attribution || right.attribution,
        share_alike: left.share_alike || right.share_alike,
        ..left
    }
}
