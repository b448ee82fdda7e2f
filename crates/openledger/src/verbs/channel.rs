//! `openledger channel`: prepaid money for answers, and the API key that spends it.
//!
//! **Invariant:** what the contract or the node would refuse is checked before money moves, and an
//! error after the deposit says that it is made. **Not here:** withdrawing a deposit.

use clap::Subcommand;
use openledger_api::client::Client;
use openledger_api::{Network, NewChannel, OpenedChannel, SessionKeyRequest};
use openledger_chain::contracts::bindings::channels::Channels;
use openledger_chain::flow::Flow;
use openledger_protocol::{Amount, ChannelConfig, sha256};

use super::signing::Signer;
use super::{body_key, print_json};
use crate::connection::NodeArgs;
use crate::error::{CliError, Exit, Result, with_causes};

/// Default delay of a withdrawal, in seconds.
const WITHDRAW_DELAY_S: u64 = 3_600;
/// Default delay with a demo identity, in seconds: the day of its local network is a second.
const LOCAL_DELAY_S: u64 = 1;

/// Verbs on channels.
#[derive(Subcommand, Debug)]
pub(crate) enum ChannelVerb {
    /// Deposit OPEN for answers of a node and get an API key. A repeat deposits again, into the
    /// same channel.
    Open {
        /// Amount to deposit with its unit, `50 OPEN` or `5000000 base` (base units, 10^-18 OPEN).
        #[arg(required_unless_present = "deposited", conflicts_with = "deposited")]
        amount: Option<Amount>,
        /// Deposit nothing: open the channel of a deposit that is on chain already. Signer, --name
        /// and --withdraw-delay must be those of the deposit.
        #[arg(long)]
        deposited: bool,
        /// Name of the channel; distinguishes channels of one payer.
        #[arg(long, default_value = "channel")]
        name: String,
        /// Delay of a withdrawal in seconds, from 1/96 of the network's day (at least 1) to 30 of
        /// its days: 900 to 2,592,000 where a day is 24 hours, 1 to 30 where it is a second.
        /// Default: 3,600, or 1 with --demo-seed.
        #[arg(long, value_name = "S")]
        withdraw_delay: Option<u64>,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: NodeArgs,
    },
}

/// Runs the verb.
pub(crate) async fn run(verb: ChannelVerb) -> Result<()> {
    let ChannelVerb::Open { amount, deposited: _, name, withdraw_delay, signer, node } = verb;
    let payer = signer.key()?.address();
    let client = node.client()?;
    let network = client.network().await?;
    let request = SessionKeyRequest { payer, salt: sha256(&name) };
    let session = client.session_key(&request, &body_key("keys", &request)?).await?;
    let config = ChannelConfig {
        payer,
        authorizer: session.authorizer,
        node: network.node,
        withdraw_delay: withdraw_delay.unwrap_or(if signer.is_demo() { LOCAL_DELAY_S } else { WITHDRAW_DELAY_S }),
        salt: request.salt,
    };
    let channel = NewChannel { config };
    // Without an amount the deposit was made before.
    let Some(amount) = amount else {
        return print_json(&client.open_channel(&channel).await?);
    };
    let flow = signer.flow(&client, &network).await?;
    ensure_depositable(&client, &flow, &network, &channel.config).await?;
    flow.token().wrap("wrap", amount).await?;
    flow.token().approve("approve", network.addresses.channels, amount).await?;
    flow.channels().deposit("deposit", &channel.config, amount).await?;
    print_json(&open_deposited(&client, &channel, &name, amount).await?)
}

/// Refuses a deposit that the contract would refuse, or whose channel the node would not open.
///
/// # Errors
/// [`Exit::Usage`] for a withdraw delay outside the contract's bounds; [`Exit::Conflict`] while the
/// payer has asked the deposit back; [`Exit::Unavailable`] when the node is not ready; the errors
/// of the calls.
async fn ensure_depositable(client: &Client, flow: &Flow, network: &Network, config: &ChannelConfig) -> Result<()> {
    let contract = flow.contract(network.addresses.channels);
    let (least, most) =
        (contract.view(Channels::MIN_DELAYCall {}).await?, contract.view(Channels::MAX_DELAYCall {}).await?);
    if !(least..=most).contains(&config.withdraw_delay) {
        let message = format!(
            "a withdraw delay of {} seconds is refused on this network; give --withdraw-delay from {least} to {most}",
            config.withdraw_delay
        );
        return Err(CliError::refused(Exit::Usage, message));
    }
    let id = config.id(network.chain_id, network.addresses.channels);
    if let Some(asked) = flow.channels().withdrawal(id).await? {
        let message = format!(
            "the payer asked {} of channel {id} back, to be paid from {} on (Unix seconds), and nothing is deposited; \
             withdraw it first, or open a channel with another --name",
            asked.amount, asked.ready_at
        );
        return Err(CliError::refused(Exit::Conflict, message));
    }
    if !client.is_ready().await {
        let message = format!(
            "the node is not ready to open a channel, and nothing is deposited; {}/health/ready names what fails",
            client.base()
        );
        return Err(CliError::refused(Exit::Unavailable, message));
    }
    Ok(())
}

/// Opens a channel into which `amount` was deposited.
///
/// # Errors
/// The node's, with the exit status it has: the message says that the deposit is made, and how to
/// go on without another.
async fn open_deposited(client: &Client, channel: &NewChannel, name: &str, amount: Amount) -> Result<OpenedChannel> {
    let opened = client.open_channel(channel).await.map_err(CliError::from);
    opened.map_err(|error| {
        let delay = channel.config.withdraw_delay;
        let message = format!(
            "{}; the deposit of {amount} is made: give --deposited --name '{name}' --withdraw-delay {delay} and the \
             same signer, without an amount, to go on with it",
            with_causes(&error)
        );
        CliError::refused(error.exit(), message)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use alloy_primitives::keccak256;
    use axum::extract::State;
    use axum::http::{StatusCode, Uri};
    use axum::response::IntoResponse;
    use axum::{Json, Router};
    use clap::Parser;
    use openledger_api::Problem;
    use openledger_protocol::{Address, B256};
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::{Cli, Verb};

    /// A node and its network, as far as a channel is opened; it mines no transaction.
    #[derive(Default)]
    struct Fake {
        /// Whether it is not ready.
        not_ready: bool,
        /// When a withdrawal is paid, in Unix seconds; 0 without one.
        ready_at: u64,
        /// Whether the node refuses to open the channel.
        refuses: bool,
        /// Paths, and methods of the network, that were called.
        called: Mutex<Vec<String>>,
    }

    impl Fake {
        fn answer(&self, path: &str, body: &Value) -> (StatusCode, Value) {
            let called = body["method"].as_str().unwrap_or(path).to_owned();
            self.called.lock().unwrap().push(called);
            match path {
                "/api/v1/network" => (StatusCode::OK, network()),
                "/api/v1/channels/keys" => (StatusCode::OK, json!({ "authorizer": Address::ZERO })),
                "/health/ready" if self.not_ready => (StatusCode::SERVICE_UNAVAILABLE, Value::Null),
                "/health/ready" => (StatusCode::OK, Value::Null),
                "/api/v1/channels" if self.refuses => {
                    (StatusCode::SERVICE_UNAVAILABLE, json!(Problem::new(503, "try-again", "the chain lags")))
                }
                "/api/v1/channels" => {
                    let opened = json!({ "channel": B256::ZERO, "deposited": Amount::OPEN, "api_key": "ol_1" });
                    (StatusCode::OK, opened)
                }
                "/rpc" => (StatusCode::OK, self.rpc(body)),
                _ => (StatusCode::NOT_FOUND, Value::Null),
            }
        }

        fn rpc(&self, body: &Value) -> Value {
            let data = body["params"][0]["data"].as_str().unwrap_or_default();
            let is_call =
                |signature: &str| data.starts_with(&format!("0x{}", hex::encode(&keccak256(signature).0[..4])));
            let result = match body["method"].as_str().unwrap() {
                "eth_chainId" => "0x1".to_owned(),
                // The faucet need not send coins.
                "eth_getBalance" => "0xff".to_owned(),
                "eth_call" if is_call("MIN_DELAY()") => format!("0x{:064x}", 1),
                "eth_call" if is_call("MAX_DELAY()") => format!("0x{:064x}", 30),
                "eth_call" if is_call("withdrawals(bytes32)") => format!("0x{:064x}{:064x}", 5, self.ready_at),
                method => {
                    let error = json!({ "code": -32_601, "message": format!("{method} is not expected") });
                    return json!({ "jsonrpc": "2.0", "id": 1, "error": error });
                }
            };
            json!({ "jsonrpc": "2.0", "id": 1, "result": result })
        }

        /// Whether only reads of the network were made.
        fn sent_nothing(&self) -> bool {
            let reads = ["eth_chainId", "eth_getBalance", "eth_call"];
            let called = self.called.lock().unwrap();
            called.iter().filter(|called| called.starts_with("eth_")).all(|called| reads.contains(&called.as_str()))
        }

        fn opened(&self) -> usize {
            self.called.lock().unwrap().iter().filter(|called| *called == "/api/v1/channels").count()
        }
    }

    fn network() -> Value {
        let account = Address::ZERO;
        json!({
            "chain_id": 1, "node": account, "tokenizer": B256::ZERO, "numeric_mode": "f32fma-1",
            "base": { "name": "toy", "hash": B256::ZERO },
            "parties": { "treasury": account, "validation": account, "insurance": account },
            "addresses": {
                "wopen": account, "datanets": account, "contributions": account, "models": account,
                "channels": account, "payouts": account, "verifier": account, "params": account,
            },
        })
    }

    async fn respond(State(fake): State<Arc<Fake>>, uri: Uri, body: String) -> impl IntoResponse {
        let (status, answer) = fake.answer(uri.path(), &serde_json::from_str(&body).unwrap_or_default());
        (status, Json(answer))
    }

    /// The URL of `fake`.
    async fn served(fake: &Arc<Fake>) -> String {
        let router = Router::new().fallback(respond).with_state(Arc::clone(fake));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    /// `channel open` with these arguments.
    async fn open(fake: &Arc<Fake>, more: &[&str]) -> Result<()> {
        let url = served(fake).await;
        let words = ["openledger", "channel", "open", "--demo-seed", "1", "--as", "reader", "--node", &url];
        let Verb::Channel(verb) = Cli::try_parse_from(words.iter().chain(more)).unwrap().verb else {
            panic!("another verb")
        };
        run(verb).await
    }

    #[tokio::test]
    async fn what_would_be_refused_is_refused_before_money_moves() {
        for (fake, delay, exit, says) in [
            (Fake::default(), "0", Exit::Usage, "--withdraw-delay from 1 to 30"),
            (Fake::default(), "31", Exit::Usage, "--withdraw-delay from 1 to 30"),
            (Fake { ready_at: 77, ..Fake::default() }, "1", Exit::Conflict, "from 77 on"),
            (Fake { not_ready: true, ..Fake::default() }, "30", Exit::Unavailable, "not ready"),
        ] {
            let fake = Arc::new(fake);
            let error = open(&fake, &["5 OPEN", "--withdraw-delay", delay]).await.unwrap_err();
            assert_eq!(error.exit(), exit, "{error}");
            assert!(error.to_string().contains(says), "{error}");
            assert!(fake.sent_nothing() && fake.opened() == 0, "{:?}", fake.called);
        }
        // Otherwise the first transaction is prepared.
        let fake = Arc::new(Fake::default());
        open(&fake, &["5 OPEN"]).await.unwrap_err();
        assert!(!fake.sent_nothing(), "{:?}", fake.called);
    }

    #[tokio::test]
    async fn a_refusal_after_the_deposit_says_how_to_go_on_without_another() {
        let fake = Arc::new(Fake { refuses: true, ..Fake::default() });
        let client = Client::new(&served(&fake).await).unwrap();
        let account = Address::ZERO;
        let config =
            ChannelConfig { payer: account, authorizer: account, node: account, withdraw_delay: 9, salt: B256::ZERO };
        let error = open_deposited(&client, &NewChannel { config }, "mine", Amount::OPEN).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Unavailable);
        let said = error.to_string();
        assert!(said.contains("the chain lags") && said.contains("the deposit of 1 OPEN is made"), "{said}");
        assert!(said.contains("--deposited --name 'mine' --withdraw-delay 9"), "{said}");
    }

    #[tokio::test]
    async fn a_channel_whose_deposit_is_made_is_opened_without_another() {
        let fake = Arc::new(Fake::default());
        open(&fake, &["--deposited"]).await.unwrap();
        assert!(fake.sent_nothing() && fake.opened() == 1, "{:?}", fake.called);
    }

    #[test]
    fn an_amount_or_an_earlier_deposit_is_named_and_not_both() {
        let typed = |more: &[&str]| {
            let words = ["openledger", "channel", "open", "--demo-seed", "1"];
            Cli::try_parse_from(words.iter().chain(more))
        };
        typed(&["5 OPEN"]).unwrap();
        typed(&["--deposited"]).unwrap();
        typed(&[]).unwrap_err();
        typed(&["5 OPEN", "--deposited"]).unwrap_err();
    }

    #[test]
    fn a_deposit_without_a_unit_is_refused_and_both_units_are_named() {
        let typed = |amount| Cli::try_parse_from(["openledger", "channel", "open", amount, "--demo-seed", "1"]);
        let refused = typed("5").unwrap_err().to_string();
        assert!(refused.contains("`5 OPEN`") && refused.contains("`5 base`"), "{refused}");
        typed("5 OPEN").unwrap();
        typed("5000000 base").unwrap();
    }
}
