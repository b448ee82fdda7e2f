//! What is refused, with which status.

use crate::program::{demo, openledger, samples};

/// Runs a demonstration on one file.
fn on(file: &std::path::Path) -> crate::program::Demo {
    demo(&["--data", &file.display().to_string(), "--probe-records", "0"])
}

#[test]
fn malformed_files_end_the_import_with_65_and_name_their_lines() {
    for (name, lines) in
        [("truncated", vec![3]), ("invalid-utf8", vec![2]), ("nul", vec![2, 3]), ("duplicate-ids", vec![3, 5])]
    {
        let refused = on(&samples().join(format!("bad/{name}.jsonl")));
        assert_eq!(refused.ran.code, 65, "{name}\n{}\n{}", refused.ran.out, refused.ran.err);
        for line in lines {
            assert!(refused.ran.err.contains(&format!("line {line}:")), "{name}: {}", refused.ran.err);
        }
    }
}

#[test]
fn a_line_of_a_megabyte_is_refused_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("long.jsonl");
    let line = |id: &str, text: &str| {
        format!("{{\"id\":\"{id}\",\"contributor\":\"river-gauge\",\"license\":\"CC0-1.0\",\"text\":\"{text}\"}}\n")
    };
    std::fs::write(&file, line("a", "short") + &line("b", &"x".repeat(1 << 20))).unwrap();
    let refused = on(&file);
    assert_eq!(refused.ran.code, 65, "{}\n{}", refused.ran.out, refused.ran.err);
    assert!(refused.ran.err.contains("line 2:"), "{}", refused.ran.err);
}

#[test]
fn nouns_of_later_versions_are_refused_by_name() {
    for noun in ["agent", "market", "gov", "attack", "poa"] {
        let said = openledger([noun, "anything", "--at", "all"]).exits(69);
        assert!(
            said.err.contains(&format!("openledger {noun}")) && said.err.contains("does not have it yet"),
            "{}",
            said.err
        );
    }
}

/// An address where nothing listens.
fn closed() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn a_key_file_that_cannot_be_used_is_named_before_a_node_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (wrong, absent, closed) = (file("wrong.key"), file("absent.key"), closed());
    std::fs::write(&wrong, "{}").unwrap();
    let records = samples().join("bicycle-repair.jsonl").display().to_string();
    for verb in [
        &["channel", "open", "5 OPEN"][..],
        &["datanet", "create", "tides"],
        &["datanet", "contribute", "1", &records],
        &["datanet", "publish", "1"],
        &["datanet", "grant", "1", "1"],
        &["model", "publish", "tides", "--job", "1"],
    ] {
        for (key, status) in [(&wrong, 78), (&absent, 3)] {
            let said = openledger(verb.iter().chain(&["--key-file", key, "--node", &closed])).exits(status);
            assert!(said.err.contains(key.as_str()) && !said.err.contains("does not answer"), "{verb:?}: {}", said.err);
        }
    }
}

#[test]
fn what_only_a_recomputation_reads_is_refused_without_reexecute() {
    for option in ["--base", "--adapter", "--records"] {
        let said = openledger(["receipt", "verify", "receipt.json", "--manifest", "m.json", option, "there"]).exits(2);
        assert!(said.err.contains("--reexecute"), "{option}: {}", said.err);
    }
}

#[test]
fn exit_statuses_tell_who_can_mend_it() {
    openledger(["datanet", "paint"]).exits(2);
    let silent = openledger(["datanet", "list", "--node", &closed()]).exits(69);
    assert!(silent.err.contains("help: start a local network"), "{}", silent.err);
    openledger(["receipt", "verify", "no-such-file.json", "--manifest", "none.json"]).exits(3);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text.json");
    std::fs::write(&file, "not JSON").unwrap();
    openledger(["receipt", "verify", &file.display().to_string(), "--manifest", "none.json"]).exits(65);
    std::fs::write(folder.path().join("letters.txt"), "mine").unwrap();
    openledger(["demo", "--exit", "--dir", &folder.path().display().to_string()]).exits(6);
}
