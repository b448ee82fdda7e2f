//! The document of the API against a running node: schemathesis makes requests from it, good and
//! bad ones, and checks every response. `tests/stock/setup.sh` installs it; without it nothing is
//! run and that is said.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use openledger_api::routes;

use super::story::{fixture, on};
use super::world::World;

/// Requests that are made for each operation, at most.
const EXAMPLES: &str = "12";

/// A request may fit the schema and be refused for its meaning: 400 and 422 name what is wrong, 402 is unpaid.
fn config(operator: &str, channel: &str) -> String {
    format!(
        r#"
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "402", "403", "404", "409", "413", "422", "429", "503"]

# All checks are on without being named; named on the command line, they would overrule the next entry.
# A file of records is bytes: no schema says which lines are records, and lines that are none are in the report.
[[operations]]
include-path = "/api/v1/datanets/{{id}}/imports"
checks.negative_data_rejection.enabled = false

[auth.openapi.operator]
bearer = "{operator}"

[auth.openapi.channel]
bearer = "{channel}"
"#
    )
}

#[test]
fn every_operation_answers_as_the_document_says() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/stock/python/bin/schemathesis");
    let program =
        std::env::var_os("OPENLEDGER_STOCK").map_or(program, |stock| Path::new(&stock).join("python/bin/schemathesis"));
    if !program.exists() {
        let missing = format!("{} is not there; run crates/gateway/tests/stock/setup.sh", program.display());
        assert!(std::env::var_os("OPENLEDGER_ALL_TOOLS").is_none(), "{missing}");
        eprintln!("skipped: {missing}");
        return;
    }
    let story = fixture();
    let data = story.copied();
    let world = on(World::open(data.clone(), Arc::default()));
    let file = data.join("schemathesis.toml");
    std::fs::write(&file, config(&world.token, &story.payer)).unwrap();
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stock/python/hooks.py");
    let report = data.join("report.json");
    let ran = Command::new(program)
        .arg("--config-file")
        .arg(&file)
        .args(["--no-color", "run", &world.address("/openapi.json"), "--seed", "7"])
        .args(["--max-examples", EXAMPLES, "--generation-database", "none", "--report", "json"])
        // How fast values are generated says something about a busy machine, nothing about the node.
        .args(["--suppress-health-check", "too_slow"])
        .arg("--report-json-path")
        .arg(&report)
        .env("SCHEMATHESIS_HOOKS", hooks)
        .current_dir(&data)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{told}");
    // The route of the document itself is called to load it, and is not counted.
    let count = routes().iter().filter(|route| route.path != "/openapi.json").count();
    let (selected, tested) = (format!("Selected: {count}/{count}\n"), format!("Tested: {count}\n"));
    assert!(told.contains(&selected) && told.contains(&tested), "not all {count} operations were tested: {told}");
}
