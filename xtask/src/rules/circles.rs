//! No files of a crate use each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use super::imports::{Edges, Imports, circles};
use super::{crates, shown};
use crate::run::root;

#[test]
fn no_files_of_a_crate_use_each_other_in_a_circle() {
    let mut faults = String::new();
    for name in crates() {
        let edges = Imports::of(&root().join("crates").join(name).join("src")).edges();
        for circle in circles(&edges) {
            describe(&circle, &edges, &mut faults);
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

/// Writes the files of a circle, each with what it uses of the others.
fn describe(circle: &BTreeSet<PathBuf>, edges: &Edges, faults: &mut String) {
    let _ = writeln!(faults, "a circle of {} files:", circle.len());
    let none = BTreeMap::new();
    for from in circle {
        let _ = writeln!(faults, "  {}", shown(from));
        for (to, names) in edges.get(from).unwrap_or(&none).iter().filter(|(to, _)| circle.contains(*to)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let _ = writeln!(faults, "    uses {} of {}", names.join(", "), shown(to));
        }
    }
}

#[test]
fn a_circle_is_found_through_parents_names_and_re_exports_and_nowhere_else() {
    let src = std::env::temp_dir().join(format!("openledger-circles-{}", std::process::id()));
    let files = [
        // The root re-exports and declares; that is no use.
        ("lib.rs", "mod a;\nmod b;\nmod c;\npub use a::A;\n"),
        ("a/mod.rs", "mod inner;\npub(crate) use inner::Inner;\nuse crate::b;\npub struct A(b::B);"),
        ("a/inner.rs", "pub struct Inner;\n#[cfg(test)]\nmod tests { use crate::c::C; }"),
        // `a::Inner` is `inner`'s, which uses nothing; `crate::A` leads to `a`.
        ("b.rs", "use crate::a::Inner;\npub struct B(Inner); // crate::c::C\nfn f() -> Option<crate::A> { None }"),
        ("c.rs", "use super::{a::{self, Inner}, b as other};\npub struct C(a::A, Inner, other::B);"),
    ];
    for (file, text) in files {
        let path = src.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let edges = Imports::of(&src).edges();
    let named = |file: &PathBuf| file.strip_prefix(&src).unwrap().display().to_string();
    let found: Vec<Vec<String>> = circles(&edges).iter().map(|circle| circle.iter().map(named).collect()).collect();
    let of_c: Vec<String> = edges[&src.join("c.rs")].keys().map(named).collect();
    std::fs::remove_dir_all(&src).unwrap();
    assert_eq!(found, [["a/mod.rs", "b.rs"]]);
    assert_eq!(of_c, ["a/inner.rs", "a/mod.rs", "b.rs"]);
}
