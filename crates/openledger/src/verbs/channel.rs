//! `openledger channel`: prepaid money for answers, and the API key that spends it.

use clap::Subcommand;
use openledger_protocol::{Amount, B256, ChannelConfig, sha256};
use serde_json::json;

use super::print_json;
use super::signing::{Network, Signer};
use crate::api::{NodeArgs, field};
use crate::error::Result;

/// Seconds between asking for the rest of a channel and getting it.
const WITHDRAW_DELAY_S: u64 = 3_600;
/// The same on a local network, where a day passes in a second.
const LOCAL_DELAY_S: u64 = 1;

/// Verbs on channels.
#[derive(Subcommand, Debug)]
pub(crate) enum ChannelVerb {
    /// Deposit OPEN for answers of the node and get an API key.
    Open {
        /// How much, such as `50 OPEN`.
        amount: Amount,
        /// Tells channels of one payer apart.
        #[arg(long, default_value = "channel")]
        name: String,
        /// Seconds between asking for the rest and getting it; without, an hour, on a local network a second.
        #[arg(long)]
        withdraw_delay: Option<u64>,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: NodeArgs,
    },
}

/// Does what was asked.
pub(crate) async fn run(verb: ChannelVerb) -> Result<()> {
    let ChannelVerb::Open { amount, name, withdraw_delay, signer, node } = verb;
    let api = node.api()?;
    let network = Network::of(&api).await?;
    let flow = signer.flow(&api, &network).await?;
    let payer = flow.account();
    let salt: B256 = sha256(&name);
    let asked =
        api.post("/api/v1/channels/keys", &json!({ "payer": payer, "salt": salt }), &format!("keys/{salt}")).await?;
    let config = ChannelConfig {
        payer,
        authorizer: field(&asked, "POST channels/keys", "authorizer")?,
        node: network.node,
        withdraw_delay: withdraw_delay.unwrap_or(if signer.is_demo() { LOCAL_DELAY_S } else { WITHDRAW_DELAY_S }),
        salt,
    };
    flow.wrap("wrap", amount).await?;
    flow.approve("approve", network.addresses.channels, amount).await?;
    flow.deposit("deposit", &config, amount).await?;
    print_json(&api.post("/api/v1/channels", &json!({ "config": config }), &format!("channel/{salt}")).await?)
}
