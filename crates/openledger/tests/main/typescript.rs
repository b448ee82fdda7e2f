//! The thread through a TypeScript client that is generated from the node's document.

use std::process::Command;

use crate::program::root;
use crate::steps::Network;

#[test]
fn a_generated_typescript_client_drives_the_thread() {
    let studio = root().join("studio");
    if !studio.join("node_modules/openapi-fetch").exists() {
        let missing = "the Studio's packages are not there; `npm ci --ignore-scripts` in studio/ installs them";
        assert!(std::env::var_os("OPENLEDGER_ALL_TOOLS").is_none(), "{missing}");
        eprintln!("skipped: {missing}");
        return;
    }
    let network = Network::start(&[]);
    let token = std::fs::read_to_string(network.file("operator.token")).unwrap();
    let ran = Command::new("npm")
        .args(["run", "--silent", "thread"])
        .current_dir(studio)
        .env("OPENLEDGER_URL", network.address().unwrap())
        .env("OPENLEDGER_TOKEN", token.trim())
        .env("OPENLEDGER_SEED", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
}
