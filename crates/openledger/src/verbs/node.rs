//! `openledger node` and `openledger dev`: a running node.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use openledger_node::{ChainChoice, Config, Node, NodeClock, PlatformAccounts};
use openledger_protocol::{Address, Amount, Key};

use super::answering::AnsweringArgs;
use crate::error::{CliError, Exit, Result};
use crate::hub;

/// What the node puts at stake to propose epochs, in whole OPEN.
const BOND: u64 = 5_000;
/// What each seeded account of a local network holds from genesis on, in whole OPEN.
const SEEDED: u64 = 1_000_000;

/// Windows of a local network, in seconds: longer ones would make its day so long that channels could not be closed at once.
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
    /// Holds everything the node keeps.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where HTTP listens; port 0 takes a free one. The address is written to `<data>/node.address`.
    #[arg(long, default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// The base model's folder, or its name on the hub, `org/name[@revision]`; without, `models/base` beside the program's
    /// checkout.
    #[arg(long, value_name = "DIR|ID")]
    base: Option<PathBuf>,
    /// Keep to models that are here: no word to the hub.
    #[arg(long)]
    offline: bool,
    /// The Studio's built pages; without, `studio/dist` beside the program's checkout if it is there.
    #[arg(long, value_name = "DIR")]
    studio: Option<PathBuf>,
    /// Where times come from.
    #[arg(long, value_enum, default_value = "wall")]
    clock: Clock,
    /// JSON-RPC of the chain to settle on; without, a chain inside this process.
    #[arg(long, value_name = "URL")]
    rpc: Option<String>,
    /// OPEN's ERC-20 on that chain; without, OPEN is its native coin.
    #[arg(long, requires = "rpc", value_name = "0x…")]
    token: Option<Address>,
    /// The chain inside: its EIP-155 id.
    #[arg(long, default_value_t = openledger_chain::embedded::DEFAULT_CHAIN_ID)]
    chain_id: u64,
    /// Seconds for which a proposal may be refuted, where the node deploys the contracts; without, a day, or a second on the
    /// chain inside. There 600 at most: a second of its time is one of the clock then, and settling is done in two calls.
    #[arg(long, value_name = "SECONDS")]
    window: Option<u64>,
    /// A local network's seed: the node's key and the seeded accounts follow from it, so they are worth nothing.
    #[arg(long, conflicts_with = "rpc")]
    seed: Option<u64>,
    /// File with the node's key, 64 hexadecimal digits; without, `<data>/node.key`, made at the first start.
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    key_file: Option<PathBuf>,
    /// Account of the platform's treasury; without, the node's own.
    #[arg(long, value_name = "0x…")]
    treasury: Option<Address>,
    /// Account of the validation budget; without, the node's own.
    #[arg(long, value_name = "0x…")]
    validation: Option<Address>,
    /// Account of disputes and insurance; without, the node's own.
    #[arg(long, value_name = "0x…")]
    insurance: Option<Address>,
    /// The database, `sqlite://…` or `postgres://…`; without, a file in the data folder.
    #[arg(long, value_name = "URL", env = "OPENLEDGER_DATABASE", hide_env_values = true)]
    database: Option<String>,
    /// The blob store, `file://…` or `s3://…`; without, a folder in the data folder.
    #[arg(long, value_name = "URL", env = "OPENLEDGER_BLOBS", hide_env_values = true)]
    blobs: Option<String>,
    #[command(flatten)]
    answering: AnsweringArgs,
    /// End when standard input does: a child then never outlives whoever started it.
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

/// Arguments of `openledger dev`.
#[derive(Args, Debug)]
pub(crate) struct DevArgs {
    /// Holds everything the network keeps.
    #[arg(long, value_name = "DIR", default_value = ".dev")]
    data: PathBuf,
    /// Where HTTP listens.
    #[arg(long, default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// The base model's folder, or its name on the hub, `org/name[@revision]`.
    #[arg(long, value_name = "DIR|ID")]
    base: Option<PathBuf>,
    /// Keep to models that are here: no word to the hub.
    #[arg(long)]
    offline: bool,
    /// The Studio's built pages.
    #[arg(long, value_name = "DIR")]
    studio: Option<PathBuf>,
    /// The network's seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds for which a proposal may be refuted, 600 at most; without, one, which settling does not wait for. With it
    /// `epoch settle` proposes, and finalizes when it is called again after that time.
    #[arg(long, value_name = "SECONDS")]
    window: Option<u64>,
    #[command(flatten)]
    answering: AnsweringArgs,
}

/// Runs a node until it is asked to stop.
pub(crate) async fn run(args: NodeArgs) -> Result<()> {
    let until_stdin_ends = args.until_stdin_ends;
    serve(config(args).await?, until_stdin_ends).await
}

/// Runs a local network with seeded accounts.
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
        until_stdin_ends: false,
    };
    let config = config(node).await?;
    println!("local network {}: every account is derived from seed {seed} and worth nothing elsewhere", args.listen);
    println!("  faucet {} holds {SEEDED} OPEN", Key::demo(seed, "faucet").address());
    println!("  operator's token: {}", config.token_file().display());
    serve(config, false).await
}

async fn serve(config: Config, until_stdin_ends: bool) -> Result<()> {
    let failed = |error: openledger_node::NodeError| {
        let exit = match error.blame() {
            openledger_node::Blame::Retry => Exit::Unavailable,
            openledger_node::Blame::Conflict => Exit::Conflict,
            _ => Exit::Config,
        };
        CliError::refused(exit, crate::error::with_causes(&error))
    };
    let node = Node::open(config).await.map_err(failed)?;
    node.serve(asked_to_stop(until_stdin_ends)).await.map_err(failed)
}

/// Ends on Ctrl-C, on SIGTERM, and with standard input if that was asked for.
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
        // A thread of its own: reading standard input cannot be cancelled, and must not hold up the runtime's end.
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
    let studio = args.studio.or_else(|| beside_the_checkout("studio/dist"));
    let base = hub::base(&base_dir(args.base)?, args.offline).await?;
    let answering = args.answering.choice(&base.name, Some(&args.data.join("models")))?;
    Ok(Config {
        base: base.dir,
        base_name: base.name,
        answering,
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
    let told = format!("--window {window}: {network} is {first} to {last} seconds");
    Err(CliError::refused(Exit::Usage, told))
}

/// The base model's folder: the one named, or the one that ships with the checkout.
pub(crate) fn base_dir(asked: Option<PathBuf>) -> Result<PathBuf> {
    let found = asked.or_else(|| beside_the_checkout("models/base"));
    found.ok_or_else(|| CliError::refused(Exit::Config, "name the base model's folder by --base"))
}

/// A path inside the checkout that the program was built in (`target/<profile>/openledger`), or below where it is called.
pub(crate) fn beside_the_checkout(path: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().ok();
    let folders = program.iter().flat_map(|file| file.ancestors().skip(1).take(4).map(Path::to_path_buf));
    folders.chain([PathBuf::from(".")]).map(|folder| folder.join(path)).find(|path| path.exists())
}

/// The key in `file`.
pub(crate) fn read_key(file: &Path) -> Result<Key> {
    let bad =
        || CliError::refused(Exit::Config, format!("{} does not hold a key of 64 hexadecimal digits", file.display()));
    let text = std::fs::read_to_string(file).map_err(CliError::file(file))?;
    let mut secret = [0u8; 32];
    hex::decode_to_slice(text.trim().trim_start_matches("0x"), &mut secret).map_err(|_| bad())?;
    Key::from_bytes(&secret).map_err(|_| bad())
}

/// The key in `file`, or a new one from the system's randomness, readable by its owner alone.
fn own_key(file: &Path) -> Result<Key> {
    use std::io::{Read, Write};
    use std::os::unix::fs::OpenOptionsExt;
    if file.exists() {
        return read_key(file);
    }
    let source = Path::new("/dev/urandom");
    let mut random = std::fs::File::open(source).map_err(CliError::file(source))?;
    loop {
        let mut secret = [0u8; 32];
        random.read_exact(&mut secret).map_err(CliError::file(source))?;
        // One draw in 2^128 is no key.
        let Ok(key) = Key::from_bytes(&secret) else { continue };
        let mut created = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
        let written = created.as_mut().map_err(|error| std::io::Error::new(error.kind(), error.to_string()));
        written.and_then(|f| f.write_all(hex::encode(secret).as_bytes())).map_err(CliError::file(file))?;
        return Ok(key);
    }
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

    #[test]
    fn a_new_key_is_kept_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.key");
        let made = own_key(&file).unwrap();
        assert_eq!(own_key(&file).unwrap().address(), made.address());
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&file, "not a key").unwrap();
        assert_eq!(own_key(&file).unwrap_err().exit(), Exit::Config);
    }
}
