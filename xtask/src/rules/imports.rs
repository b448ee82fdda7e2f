//! Which file of a crate uses which: a reading of `crate::`, `super::`, `self::` and child paths,
//! without a compiler.
//!
//! `mod child;` is no use, and neither is a re-export (`pub use`): a path through it leads to the
//! file that defines the name. Code under `#[cfg(test)]` does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::lexer::{code_of, tokens, without_tests};
use super::{files, read};

/// A path of modules, or of modules and an item, below the crate's root.
type Place = Vec<String>;

/// Names by the file that uses them and the file that defines them.
pub(super) type Edges = BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<String>>>;

/// The modules of one crate and what each uses of the others.
pub(super) struct Imports(BTreeMap<Place, Module>);

#[derive(Default)]
struct Module {
    file: PathBuf,
    /// Items that the module declares.
    items: BTreeSet<String>,
    /// Names that the module re-exports, with where they come from.
    exports: BTreeMap<String, Place>,
    /// Modules whose names are re-exported by `*`.
    export_all: Vec<Place>,
    uses: Vec<Place>,
}

impl Imports {
    /// Reads the sources below `src`.
    pub(super) fn of(src: &Path) -> Self {
        let mut sources = BTreeMap::new();
        let mut only_tests = Vec::new();
        for file in files(src, "rs") {
            let place = place_of(src, &file);
            let (code, tested) = without_tests(&code_of(&read(&file)));
            only_tests.extend(tested.into_iter().map(|name| joined(&place, &[name])));
            sources.insert(place, (file, code));
        }
        sources.retain(|place, _| !only_tests.iter().any(|tests| place.starts_with(tests)));
        let places: BTreeSet<Place> = sources.keys().cloned().collect();
        let modules = sources.into_iter().map(|(place, (file, code))| {
            let module = Reader { place: &place, places: &places, tokens: tokens(&code), at: 0 }.read(file);
            (place, module)
        });
        Self(modules.collect())
    }

    /// Each use of a name of another file.
    pub(super) fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for module in self.0.values() {
            for used in &module.uses {
                let (file, name) = self.defined(used, 8);
                if file != module.file {
                    edges.entry(module.file.clone()).or_default().entry(file).or_default().insert(name);
                }
            }
        }
        edges
    }

    /// The file that defines the item `path`, and the item's name; `hops` bounds chains of
    /// re-exports.
    fn defined(&self, path: &[String], hops: usize) -> (PathBuf, String) {
        let mut at = Place::new();
        for (index, name) in path.iter().enumerate() {
            let below = joined(&at, std::slice::from_ref(name));
            if self.0.contains_key(&below) {
                at = below;
                continue;
            }
            let module = self.0.get(&at).filter(|module| hops > 0 && !module.items.contains(name));
            if let Some(module) = module {
                if let Some(source) = module.exports.get(name) {
                    return self.defined(&joined(source, &path[index + 1..]), hops - 1);
                }
                let holds = |source: &&Place| {
                    self.0.get(*source).is_some_and(|m| m.items.contains(name) || m.exports.contains_key(name))
                };
                if let Some(source) = module.export_all.iter().find(holds) {
                    return self.defined(&joined(source, &path[index..]), hops - 1);
                }
            }
            return (self.file(&at), name.clone());
        }
        (self.file(&at), "(module)".to_owned())
    }

    fn file(&self, place: &[String]) -> PathBuf {
        self.0.get(place).map(|module| module.file.clone()).unwrap_or_default()
    }
}

/// The groups of two and more files in which every file uses every other, directly or through the
/// rest.
pub(super) fn circles(edges: &Edges) -> BTreeSet<BTreeSet<PathBuf>> {
    let reached: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> = edges
        .keys()
        .map(|start| {
            let mut seen = BTreeSet::new();
            let mut open = vec![start];
            while let Some(file) = open.pop() {
                for next in edges.get(file).into_iter().flat_map(BTreeMap::keys) {
                    if seen.insert(next) {
                        open.push(next);
                    }
                }
            }
            (start, seen)
        })
        .collect();
    let in_a_circle = reached.iter().filter(|(file, seen)| seen.contains(*file));
    in_a_circle
        .map(|(file, seen)| {
            let back = |other: &&PathBuf| reached.get(*other).is_some_and(|theirs| theirs.contains(*file));
            seen.iter().copied().filter(back).cloned().collect()
        })
        .collect()
}

/// `src/a/b.rs` and `src/a/b/mod.rs` are `[a, b]`; `lib.rs` and `main.rs` are the root.
fn place_of(src: &Path, file: &Path) -> Place {
    let relative = file.strip_prefix(src).unwrap_or(file).with_extension("");
    let mut place: Place = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if place.last().is_some_and(|last| last == "mod") || place == ["lib"] || place == ["main"] {
        place.pop();
    }
    place
}

fn joined(place: &[String], rest: &[String]) -> Place {
    place.iter().chain(rest).cloned().collect()
}

/// Reads the paths of one file.
struct Reader<'a> {
    place: &'a Place,
    places: &'a BTreeSet<Place>,
    tokens: Vec<&'a str>,
    at: usize,
}

impl Reader<'_> {
    fn read(mut self, file: PathBuf) -> Module {
        const ITEMS: &[&str] = &["struct", "enum", "fn", "trait", "type", "const", "static", "union"];
        let mut module = Module { file, ..Module::default() };
        // Modules by the name under which `use` brought them in.
        let mut named: BTreeMap<String, Place> = BTreeMap::new();
        let mut public = false;
        while self.at < self.tokens.len() {
            let token = self.tokens[self.at];
            if ITEMS.contains(&token) && self.at + 1 < self.tokens.len() {
                module.items.insert(self.tokens[self.at + 1].to_owned());
            }
            if token == "use" {
                self.at += 1;
                for (path, name) in self.tree(&Place::new()) {
                    let Some(path) = self.absolute(&path, &named) else { continue };
                    match (public, path.split_last()) {
                        (true, Some((last, whole))) if last == "*" => module.export_all.push(whole.to_vec()),
                        (true, _) => {
                            module.exports.insert(name, path);
                        }
                        (false, _) if self.places.contains(&path) => {
                            named.insert(name, path);
                        }
                        (false, _) => module.uses.push(path),
                    }
                }
                public = false;
            } else if self.begins_a_path() {
                for (path, _) in self.tree(&Place::new()) {
                    module.uses.extend(self.absolute(&path, &named));
                }
            } else {
                // `pub`, or the end of `pub(crate)`, may stand before `use`.
                public = token == "pub" || (public && matches!(token, "(" | ")" | "crate" | "super" | "in" | "self"));
                self.at += 1;
            }
        }
        module
    }

    fn begins_a_path(&self) -> bool {
        let before = self.at.checked_sub(1).map_or("", |before| self.tokens[before]);
        let word = self.tokens[self.at].starts_with(|c: char| c.is_alphabetic() || c == '_');
        word && self.tokens.get(self.at + 1) == Some(&"::") && !matches!(before, "::" | "." | "$")
    }

    /// The leaves of the tree of paths that begins here, each with the name under which it is
    /// known.
    fn tree(&mut self, prefix: &[String]) -> Vec<(Place, String)> {
        let mut path = prefix.to_vec();
        loop {
            let token = self.tokens.get(self.at).copied().unwrap_or(";");
            if token == "{" {
                self.at += 1;
                let mut leaves = Vec::new();
                while !matches!(self.tokens.get(self.at), None | Some(&"}") | Some(&";")) {
                    leaves.extend(self.tree(&path));
                    if self.tokens.get(self.at) == Some(&",") {
                        self.at += 1;
                    }
                }
                self.at += 1;
                return leaves;
            }
            self.at += 1;
            if token != "self" || path.is_empty() {
                path.push(token.to_owned());
            }
            if self.tokens.get(self.at) != Some(&"::") {
                break;
            }
            // Past `::` a generic argument list (`::<`) ends the path.
            let next = self.tokens.get(self.at + 1).copied().unwrap_or(";");
            if next != "{" && next != "*" && !next.starts_with(|c: char| c.is_alphabetic() || c == '_') {
                self.at += 1;
                break;
            }
            self.at += 1;
        }
        let mut name = path.last().cloned().unwrap_or_default();
        if self.tokens.get(self.at) == Some(&"as") {
            name = self.tokens.get(self.at + 1).map_or(name, |alias| (*alias).to_owned());
            self.at += 2;
        }
        vec![(path, name)]
    }

    /// `path` from the crate's root; `None` for a path into another crate.
    fn absolute(&self, path: &[String], named: &BTreeMap<String, Place>) -> Option<Place> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some(joined(self.place, rest)),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let above = self.place.len().checked_sub(ups)?;
                Some(joined(&self.place[..above], &path[ups..]))
            }
            _ => {
                let child = joined(self.place, std::slice::from_ref(first));
                let module = self.places.contains(&child).then_some(&child).or_else(|| named.get(first))?;
                Some(joined(module, rest))
            }
        }
    }
}
