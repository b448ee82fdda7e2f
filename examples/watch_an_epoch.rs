//! Watches the pending proposal of a node: whether it follows from its receipts, and what refutes
//! it.
//!
//! ```sh
//! cargo run -p openledger-api --features client --example watch_an_epoch -- http://127.0.0.1:7070 TOKEN
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Duration;

use openledger_api::Verdict;
use openledger_api::client::Client;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(token)) = (arguments.next(), arguments.next()) else { return Err("usage: URL TOKEN".into()) };
    let node = Client::new(&url)?.with_token(token);
    loop {
        match node.watch(None).await? {
            None => println!("no proposal is pending"),
            Some(proposal) => {
                let verdict = match proposal.verdict {
                    Verdict::Agrees => "agrees with its receipts".to_owned(),
                    Verdict::Refuted { refutations } => format!("is false in {} ways", refutations.len()),
                    Verdict::Disputed { differences } => format!("differs: {}", differences.join("; ")),
                    Verdict::Withheld { reason } => format!("withholds its leaves: {reason}"),
                };
                println!("epoch {} by {} {verdict}", proposal.epoch, proposal.proposer);
            }
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}
