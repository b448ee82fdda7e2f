//! Verifies a receipt from three files, without a node, and names each field that does not agree.
//!
//! ```sh
//! cargo run -p openledger-ledger --example verify_a_receipt -- \
//!     vectors/receipt/bundle.json vectors/receipt/epoch.json vectors/receipt/manifest.json
//! ```
#![allow(clippy::print_stdout, clippy::disallowed_methods)] // A program, unlike its crate, has files.

use std::error::Error;

use openledger_ledger::verify_bundle;

/// The verdict on the receipt of `bundle`, which stands in the epoch of `epoch`.
pub(crate) fn verify(bundle: &[u8], epoch: &[u8], manifest: &[u8]) -> Result<String, Box<dyn Error>> {
    let checked = verify_bundle(
        &serde_json::from_slice(bundle)?,
        &serde_json::from_slice(epoch)?,
        &serde_json::from_slice(manifest)?,
    );
    match checked {
        Ok(found) => Ok(format!("receipt {} of node {}: price {}", found.receipt, found.node, found.price)),
        Err(faults) => Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").into()),
    }
}

#[allow(dead_code)] // The test that runs this file calls `verify`.
fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let [bundle, epoch, manifest] = files.as_slice() else { return Err("usage: BUNDLE EPOCH MANIFEST".into()) };
    let read = std::fs::read;
    println!("{}", verify(&read(bundle)?, &read(epoch)?, &read(manifest)?)?);
    Ok(())
}
