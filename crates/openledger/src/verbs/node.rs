//! `openledger node` and `openledger dev`: a running node.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use openledger_gateway::Origins;
use openledger_node::{ChainChoice, Config, Node, NodeClock, PlatformAccounts};
use openledger_protocol::{Address, Amount, Key};

use super::answering::AnsweringArgs;
use super::keys::{own_key, read_key};
use super::origins::OriginArgs;
use crate::error::{CliError, Exit, Result};
use crate::{embedded, hub};

/// Bond of the node, in whole OPEN.
const BOND: u64 = 5_000;
/// Balance of each funded account of a local network at genesis, in whole OPEN.
const SEEDED: u64 = 1_000_000;

/// Windows of a local network, in seconds: longer ones would make its day so long that channels
/// could not be closed at once.
const LOCAL_WINDOWS: RangeInclusive<u64> = 1..=600;
/// Windows elsewhere, as `Payouts` takes them: an hour to seven days.
const EXTERNAL_WINDOWS: RangeInclusive<u64> = 3_600..=7 * 24 * 3_600;

/// Where times come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Clock {
    /// The machine's clock.
    Wall,
    /// Block times, one second a block: the same run gives the same records on any day.
    Logical,
}

/// Arguments of `openledger node`.
#[derive(Args, Debug)]
pub(crate) struct NodeArgs {
    /// Folder of the node's data.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Address of the HTTP server; port 0 picks a free port. Written to `<data>/node.address`.
    #[arg(long, default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// Folder of the base model, or its name on the hub, `org/name[@revision]`; default: the small
    /// base of the program.
    #[arg(long, value_name = "DIR|ID")]
    base: Option<PathBuf>,
    /// Offline: use local models only; never contact the hub.
    #[arg(long)]
    offline: bool,
    /// Folder of the built Studio; default: the one of the program.
    #[arg(long, value_name = "DIR")]
    studio: Option<PathBuf>,
    /// Source of times.
    #[arg(long, value_enum, default_value = "wall")]
    clock: Clock,
    /// JSON-RPC URL of the network to settle on; default: an embedded chain.
    #[arg(long, value_name = "URL")]
    rpc: Option<String>,
    /// ERC-20 of OPEN on that network; default: OPEN is its native coin.
    #[arg(long, requires = "rpc", value_name = "0x…")]
    token: Option<Address>,
    /// EIP-155 chain id of the embedded chain.
    #[arg(long, default_value_t = openledger_chain::embedded::DEFAULT_CHAIN_ID)]
    chain_id: u64,
    /// Challenge window in seconds, if the node deploys the contracts: 3,600 to 604,800; default: a
    /// day. On the embedded chain 1 to 600, default 1: its time then follows the clock, and above 1
    /// settling takes two calls.
    #[arg(long, value_name = "SECONDS")]
    window: Option<u64>,
    /// Seed of a local network. The node's key and the funded accounts follow from it: no secrets.
    #[arg(long, conflicts_with = "rpc")]
    seed: Option<u64>,
    /// File with the node's key, 64 hexadecimal digits; default: `<data>/node.key`, created at the
    /// first start.
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    key_file: Option<PathBuf>,
    /// Account of the platform's treasury; default: the node's account.
    #[arg(long, value_name = "0x…")]
    treasury: Option<Address>,
    /// Account of the validation budget; default: the node's account.
    #[arg(long, value_name = "0x…")]
    validation: Option<Address>,
    /// Account of disputes and insurance; default: the node's account.
    #[arg(long, value_name = "0x…")]
    insurance: Option<Address>,
    /// URL of the database, `sqlite://…` or `postgres://…`; default: a file in the data folder.
    /// Nodes with one key, network and blob store may share a Postgres database.
    #[arg(long, value_name = "URL", env = "OPENLEDGER_DATABASE", hide_env_values = true)]
    database: Option<String>,
    /// URL of the blob store, `file://…` or `s3://bucket/prefix`; default: a folder in the data
    /// folder. S3 reads endpoint, region and credentials from `AWS_…` variables; a server of your
    /// own needs `AWS_ENDPOINT_URL`, and `AWS_ALLOW_HTTP=true` without TLS.
    #[arg(long, value_name = "URL", env = "OPENLEDGER_BLOBS", hide_env_values = true)]
    blobs: Option<String>,
    #[command(flatten)]
    answering: AnsweringArgs,
    #[command(flatten)]
    origins: OriginArgs,
    /// Stop when standard input ends, so that a child process does not outlive its parent.
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

/// Arguments of `openledger dev`.
#[derive(Args, Debug)]
pub(crate) struct DevArgs {
    /// Folder of the network's data.
    #[arg(long, value_name = "DIR", default_value = ".dev")]
    data: PathBuf,
    /// Address of the HTTP server.
    #[arg(long, default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// Folder of the base model, or its name on the hub, `org/name[@revision]`; default: the small
    /// base of the program.
    #[arg(long, value_name = "DIR|ID")]
    base: Option<PathBuf>,
    /// Offline: use local models only; never contact the hub.
    #[arg(long)]
    offline: bool,
    /// Folder of the built Studio; default: the one of the program.
    #[arg(long, value_name = "DIR")]
    studio: Option<PathBuf>,
    /// Seed of the network.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Challenge window in seconds, at most 600; default: 1, and `epoch settle` finalizes at once.
    /// Otherwise `epoch settle` proposes, and finalizes when it is called again after the window.
    #[arg(long, value_name = "SECONDS")]
    window: Option<u64>,
    #[command(flatten)]
    answering: AnsweringArgs,
    #[command(flatten)]
    origins: OriginArgs,
}

/// Runs a node until a signal stops it.
pub(crate) async fn run(args: NodeArgs) -> Result<()> {
    let (until_stdin_ends, origins) = (args.until_stdin_ends, args.origins.origins()?);
    Box::pin(serve(config(args).await?, origins, until_stdin_ends)).await
}

/// Runs a local network with funded accounts.
pub(crate) async fn dev(args: DevArgs) -> Result<()> {
    let seed = args.seed;
    let node = NodeArgs {
        data: args.data,
        listen: args.listen,
        base: args.base,
        offline: args.offline,
        studio: args.studio,
        clock: Clock::Wall,
        rpc: None,
        token: None,
        chain_id: openledger_chain::embedded::DEFAULT_CHAIN_ID,
        window: args.window,
        seed: Some(seed),
        key_file: None,
        treasury: None,
        validation: None,
        insurance: None,
        database: None,
        blobs: None,
        answering: args.answering,
        origins: args.origins,
        until_stdin_ends: false,
    };
    let origins = node.origins.origins()?;
    let config = config(node).await?;
    println!("local network {}: every account is derived from seed {seed} and worth nothing elsewhere", args.listen);
    println!("  faucet {} holds {SEEDED} OPEN", Key::demo(seed, "faucet").address());
    println!("  operator's token: {}", config.token_file().display());
    Box::pin(serve(config, origins, false)).await
}

async fn serve(config: Config, origins: Origins, until_stdin_ends: bool) -> Result<()> {
    let failed = |error: openledger_node::NodeError| {
        let exit = match error.blame() {
            openledger_node::Blame::Retry => Exit::Unavailable,
            openledger_node::Blame::Conflict => Exit::Conflict,
            _ => Exit::Config,
        };
        CliError::refused(exit, crate::error::with_causes(&error))
    };
    let node = Box::pin(Node::open(config)).await.map_err(failed)?;
    Box::pin(openledger_gateway::serve_node(node, origins, asked_to_stop(until_stdin_ends))).await.map_err(failed)
}

/// Ends on Ctrl-C, on SIGTERM, and at the end of standard input with `--until-stdin-ends`.
async fn asked_to_stop(until_stdin_ends: bool) {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(error) => {
                tracing::warn!(%error, "SIGTERM cannot be listened to");
                std::future::pending::<()>().await;
            }
        }
    };
    let stdin_ended = async {
        if !until_stdin_ends {
            std::future::pending::<()>().await;
        }
        let (ended, end) = tokio::sync::oneshot::channel();
        // A thread of its own: reading standard input cannot be cancelled, and must not hold up the
        // runtime's end.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            let _ = ended.send(());
        });
        let _ = end.await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
        () = stdin_ended => {}
    }
}

async fn config(args: NodeArgs) -> Result<Config> {
    let window_s = args.window.map(|window| window_within(window, args.rpc.is_some())).transpose()?;
    std::fs::create_dir_all(&args.data).map_err(CliError::file(&args.data))?;
    let key = match (args.seed, &args.key_file) {
        (Some(seed), _) => Key::demo(seed, "node"),
        (None, Some(file)) => read_key(file)?,
        (None, None) => own_key(&args.data.join("node.key"))?,
    };
    let seeded = |name: &str| args.seed.map(|seed| Key::demo(seed, name).address());
    let platform = |asked: Option<Address>, name: &str| asked.or_else(|| seeded(name)).unwrap_or_else(|| key.address());
    let chain = match args.rpc {
        Some(url) => ChainChoice::External { url, token: args.token },
        None => {
            let each = Amount::open(SEEDED)?;
            let accounts = [Some(key.address()), seeded("faucet")];
            let genesis_accounts = accounts.into_iter().flatten().map(|account| (account, each)).collect();
            ChainChoice::Embedded { chain_id: args.chain_id, genesis_accounts }
        }
    };
    let studio = studio_dir(args.studio, &args.data)?;
    let base = hub::base(&base_dir(args.base, &args.data)?, args.offline).await?;
    let answers = args.answering.choice(&base.name, Some(&args.data.join("artifacts")))?;
    Ok(Config {
        base: base.dir,
        base_name: base.name,
        answers,
        database: args.database,
        blobs: args.blobs,
        listen: args.listen,
        studio,
        chain,
        clock: match args.clock {
            Clock::Wall => NodeClock::Wall,
            Clock::Logical => NodeClock::Logical,
        },
        platform: PlatformAccounts {
            treasury: platform(args.treasury, "treasury"),
            validation: platform(args.validation, "validation"),
            insurance: platform(args.insurance, "insurance"),
        },
        bond: Amount::open(BOND)?,
        window_s,
        key,
        data: args.data,
    })
}

/// The window, if the contracts and the clients of such a network take it.
fn window_within(window: u64, external: bool) -> Result<u64> {
    let bounds = if external { EXTERNAL_WINDOWS } else { LOCAL_WINDOWS };
    if bounds.contains(&window) {
        return Ok(window);
    }
    let (network, first, last) =
        (if external { "another network's" } else { "a local network's" }, bounds.start(), bounds.end());
    let message = format!("--window {window}: {network} is {first} to {last} seconds");
    Err(CliError::refused(Exit::Usage, message))
}

/// The base model's folder: the one named, or the one in the program, unpacked into the data
/// folder.
pub(crate) fn base_dir(named: Option<PathBuf>, data: &Path) -> Result<PathBuf> {
    named.map_or_else(|| embedded::base(data), Ok)
}

/// The Studio's folder: the one named, or the one in the program, unpacked into the data folder;
/// says when there is none.
fn studio_dir(named: Option<PathBuf>, data: &Path) -> Result<Option<PathBuf>> {
    if named.is_some() {
        return Ok(named);
    }
    let found = embedded::studio(data)?;
    if found.is_none() {
        eprintln!("{}", embedded::NO_STUDIO);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_lies_within_what_the_contracts_of_its_network_take() {
        assert_eq!(window_within(600, false).unwrap(), 600);
        assert_eq!(window_within(3_600, true).unwrap(), 3_600);
        for (window, external) in [(0, false), (601, false), (3_599, true), (604_801, true)] {
            assert_eq!(window_within(window, external).unwrap_err().exit(), Exit::Usage);
        }
    }
}
