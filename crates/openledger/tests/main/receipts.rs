//! A stranger with three files.

use std::path::Path;

use serde_json::Value;

use crate::program::{Ran, base, openledger, undisturbed};

fn export(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(undisturbed().dir.join("export").join(name)).unwrap()).unwrap()
}

/// Verifies changed copies of the three files.
fn verify(bundle: &Value, epoch: &Value, manifest: &Value, more: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, value: &Value| -> String {
        let path = folder.path().join(name);
        std::fs::write(&path, value.to_string()).unwrap();
        path.display().to_string()
    };
    let (file, epoch, manifest) = (write("r.json", bundle), write("e.json", epoch), write("m.json", manifest));
    let arguments = ["receipt", "verify", &file, "--epoch", &epoch, "--manifest", &manifest];
    openledger(arguments.iter().copied().chain(more.iter().copied()))
}

/// Another value of the same kind.
fn changed(value: &Value) -> Value {
    match value {
        Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
        Value::String(text) if text.starts_with("0x") => {
            let last = if text.ends_with('0') { '1' } else { '0' };
            format!("{}{last}", &text[..text.len() - 1]).into()
        }
        Value::String(text) => match text.parse::<u128>() {
            Ok(number) => (number + 1).to_string().into(),
            Err(_) => format!("{text}x").into(),
        },
        other => panic!("no other value for {other}"),
    }
}

#[test]
fn a_receipt_verifies_from_bundle_epoch_and_manifest() {
    let said = verify(&export("receipt.json"), &export("epoch.json"), &export("manifest.json"), &[]).exits(0);
    assert!(said.out.contains("ok     receipt 0x"), "{}", said.out);
}

#[test]
fn every_changed_field_of_the_receipt_is_named() {
    let (bundle, epoch, manifest) = (export("receipt.json"), export("epoch.json"), export("manifest.json"));
    let fields: Vec<String> = bundle["signed"]["receipt"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields.len(), 38);
    for field in fields {
        if ["version", "kind", "credit_state"].contains(&field.as_str()) {
            continue; // words of a few values, below
        }
        let mut forged = bundle.clone();
        forged["signed"]["receipt"][&field] = changed(&forged["signed"]["receipt"][&field]);
        let said = verify(&forged, &epoch, &manifest, &[]).exits(1);
        assert!(said.out.contains(&format!("signed.receipt.{field}")), "{field}: {}", said.out);
    }
}

#[test]
fn a_changed_version_kind_or_credit_state_is_named() {
    let (bundle, epoch, manifest) = (export("receipt.json"), export("epoch.json"), export("manifest.json"));
    for (field, value) in [("kind", "training"), ("credit_state", "sampled")] {
        let mut forged = bundle.clone();
        forged["signed"]["receipt"][field] = value.into();
        let said = verify(&forged, &epoch, &manifest, &[]).exits(1);
        assert!(said.out.contains(&format!("signed.receipt.{field}")), "{field}: {}", said.out);
    }
    let mut newer = bundle.clone();
    newer["signed"]["receipt"]["version"] = 3.into();
    let said = verify(&newer, &epoch, &manifest, &[]).exits(65);
    assert!(said.err.contains("version 3 is not supported"), "{}", said.err);
}

#[test]
fn a_changed_header_manifest_answer_or_line_is_named() {
    let (bundle, epoch, manifest) = (export("receipt.json"), export("epoch.json"), export("manifest.json"));
    for field in epoch["header"].as_object().unwrap().keys().filter(|field| *field != "version") {
        let mut forged = epoch.clone();
        forged["header"][field] = changed(&forged["header"][field]);
        let said = verify(&bundle, &forged, &manifest, &[]).exits(1);
        assert!(said.out.contains(&format!("epoch.header.{field}")), "{field}: {}", said.out);
    }
    let mut other_model = manifest.clone();
    other_model["base"] = changed(&other_model["base"]);
    let said = verify(&bundle, &epoch, &other_model, &[]).exits(1);
    assert!(said.out.contains("manifest"), "{}", said.out);
    let mut other_answer = bundle.clone();
    other_answer["completion"]["text"] = "Something else.".into();
    let said = verify(&other_answer, &epoch, &manifest, &[]).exits(1);
    assert!(said.out.contains("completion.text"), "{}", said.out);
    let mut other_line = bundle.clone();
    other_line["entries"][0]["amount"] = changed(&other_line["entries"][0]["amount"]);
    let said = verify(&other_line, &epoch, &manifest, &[]).exits(1);
    assert!(said.out.contains("entries"), "{}", said.out);
}

#[test]
fn a_member_that_appears_twice_in_one_of_the_files_is_refused_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["receipt.json", "epoch.json", "manifest.json"];
    let twice = [
        ("receipt.json", r#""request":{"#, r#""request":"another question","request":{"#, "request"),
        ("receipt.json", r#""holders":{"#, r#""holders":{},"holders":{"#, "terms"),
        ("receipt.json", r#""request":{"#, r#""request":{"seed":1,"seed":2,"#, "request.seed"),
        ("epoch.json", r#""cutoff":"#, r#""cutoff":1,"cutoff":"#, "header"),
        ("manifest.json", r#""name":"#, r#""name":"another","name":"#, "name"),
    ];
    for (changed, from, to, path) in twice {
        for name in files {
            let whole = export(name).to_string();
            let text = if name == changed { whole.replacen(from, to, 1) } else { whole.clone() };
            assert_eq!(text != whole, name == changed, "{name} has no {from}");
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let [file, epoch, manifest] = files.map(|name| folder.path().join(name).display().to_string());
        let said = openledger(["receipt", "verify", &file, "--epoch", &epoch, "--manifest", &manifest]).exits(65);
        let repeated = said.err.contains("duplicate field") || said.err.contains("appears twice");
        assert!(repeated && said.err.contains(path), "{changed} {path}: {}", said.err);
    }
}

#[test]
fn a_receipt_is_answered_again_and_another_text_is_found_out() {
    let models = undisturbed().dir.join("node/artifacts/folders");
    let adapter = std::fs::read_dir(&models).unwrap().flatten().map(|entry| adapter_in(&entry.path())).next().unwrap();
    let records = undisturbed().dir.join("export/records.jsonl");
    let records = records.display().to_string();
    let (base, adapter) = (base().display().to_string(), adapter.display().to_string());
    let more = ["--reexecute", "--base", &base, "--adapter", &adapter, "--records", &records];
    let (bundle, epoch, manifest) = (export("receipt.json"), export("epoch.json"), export("manifest.json"));
    let said = verify(&bundle, &epoch, &manifest, &more).exits(0);
    for part in ["the answer of", "cache of spans/1", "cache of influence-fisher/1", "credits.spans", "credits.scores"]
    {
        let again = said.out.lines().any(|line| line.starts_with("again") && line.contains(part));
        assert!(again, "{part}: {}", said.out);
    }
    let lines = std::fs::read_to_string(&records).unwrap();
    let other = undisturbed().dir.join("export/other-records.jsonl");
    std::fs::write(&other, lines.replacen("the", "thy", 1)).unwrap();
    let other = other.display().to_string();
    let with_other = ["--reexecute", "--base", &base, "--adapter", &adapter, "--records", &other];
    let said = verify(&bundle, &epoch, &manifest, &with_other).exits(1);
    assert!(said.out.contains("manifest.records_root"), "{}", said.out);
    // What another server made is not taken for checked, and an unknown mode is a fault by name.
    let mut foreign = bundle.clone();
    foreign["completion"]["numeric_mode"] = "remote".into();
    let said = verify(&foreign, &epoch, &manifest, &more).exits(1);
    assert!(said.out.contains("unchecked: another server") && said.out.contains("log-probability"), "{}", said.out);
    foreign["completion"]["numeric_mode"] = "f16-1".into();
    let said = verify(&foreign, &epoch, &manifest, &more).exits(1);
    assert!(said.out.contains("`numeric_mode` is f16-1, should be f32fma-1"), "{}", said.out);
    let mut forged = bundle.clone();
    forged["completion"]["output_ids"][0] = changed(&forged["completion"]["output_ids"][0]);
    let said = verify(&forged, &epoch, &manifest, &more).exits(1);
    assert!(said.out.contains("completion.output_ids"), "{}", said.out);
}

/// The PEFT folder at or below `dir`.
fn adapter_in(dir: &Path) -> std::path::PathBuf {
    if dir.join("adapter_config.json").is_file() {
        return dir.to_owned();
    }
    let below = std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    below.into_iter().find(|path| path.join("adapter_config.json").is_file()).unwrap()
}
