//! `openledger serve`: adapters over OpenAI's API, on plain folders: no node, no chain, no
//! receipts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use openledger_engine::{Model, NumericMode, Runtime, Tokenizer};
use openledger_gateway::serve::{Server, Setup, router};
use openledger_node::AnswerSource;
use openledger_protocol::BaseHash;
use openledger_serving::{
    Backend, ChatForm, Embedded, Limits, LoadAdapter, PeerSetup, Remote, RemoteSetup, machine_clock,
};

use super::answering::AnsweringArgs;
use super::origins::OriginArgs;
use crate::error::{CliError, Exit, Result, with_causes};
use crate::hub::{self, Base};

/// Arguments of `openledger serve`.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Folder of the base model, or its name on the hub, `org/name[@revision]`. Requests name the
    /// base by the folder's name or the hub name.
    #[arg(long, value_name = "DIR|ID")]
    base: PathBuf,
    /// Offline: use local models only; never contact the hub.
    #[arg(long)]
    offline: bool,
    /// Folder of adapter folders. Requests name an adapter by its folder's name; further adapters
    /// can be loaded from there at run time.
    #[arg(long, value_name = "DIR")]
    adapters: Option<PathBuf>,
    /// Port on the loopback address; 0 picks a free port. The address is printed.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Approximate bytes of idle adapters that stay in memory.
    #[arg(long, value_name = "N", default_value_t = 256 << 20)]
    cache_bytes: usize,
    /// Folder of packed adapters: cold adapters are mapped, and unchanged ones are not read at the
    /// next start. Write access to it controls the answers of adapters, so the folder is created
    /// private and refused if others can write to it. It can be emptied at any time.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Bytes for keys and values, in addition to adapters. A request waits until its longest answer
    /// fits.
    #[arg(long, value_name = "N", default_value_t = 1 << 30)]
    kv_bytes: usize,
    /// Compute threads; default: all processors. Answers do not depend on it.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Maximum number of concurrent answers.
    #[arg(long, value_name = "N", default_value_t = Limits::default().slots)]
    max_running: usize,
    /// Maximum number of waiting requests; a further one gets status 503.
    #[arg(long, value_name = "N", default_value_t = Limits::default().queue)]
    max_waiting: usize,
    /// Maximum number of waiting requests of one API key; a further one gets status 429.
    #[arg(long, value_name = "N", default_value_t = Limits::default().queue_per_tenant)]
    max_waiting_per_key: usize,
    /// Maximum number of prompt tokens in a step, beside running answers.
    #[arg(long, value_name = "N", default_value_t = Limits::default().prefill_rows)]
    prefill_tokens: usize,
    #[command(flatten)]
    answering: AnsweringArgs,
    #[command(flatten)]
    origins: OriginArgs,
}

/// Serves until Ctrl-C.
pub(crate) async fn run(args: ServeArgs) -> Result<()> {
    let origins = args.origins.origins()?;
    let base = hub::base(&args.base, args.offline).await?;
    let name = base.name.clone();
    let face = match args.answering.choice(&name, args.adapters.as_deref())? {
        AnswerSource::Embedded(mode) => here(&args, &base, mode)?,
        AnswerSource::Remote(peer) => {
            let adapters = args.adapters.clone();
            super::blocking(move || there(&base, adapters, peer)).await?
        }
    };
    let own = face.backend.capabilities();
    for folder in adapter_folders(args.adapters.as_deref())? {
        load(&*face.backend, &own.base_name, &folder)?;
    }
    println!("base {}  {}  mode {}", own.base_name, own.base, own.numeric_mode);
    let address = SocketAddr::from(([127, 0, 0, 1], args.port));
    let busy = |error: std::io::Error| {
        CliError::refused(Exit::Unavailable, format!("{address}: {error}; choose another port with --port"))
    };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(busy)?;
    println!("listening on http://{}", listener.local_addr().map_err(busy)?);
    let until = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    let router = router(Arc::new(Server::new(face)), &origins);
    axum::serve(listener, router).with_graceful_shutdown(until).await.map_err(busy)
}

/// Serves the adapter in `folder` under the folder's name. One that cannot be served is named on
/// standard error, and the others are served without it; only a name that the base has already ends
/// the start, since one of the two would answer in the other's place.
fn load(backend: &dyn Backend, base: &str, folder: &Path) -> Result<()> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name == base {
        let message = format!("{}: the adapter has the base's name, `{base}`; rename its folder", folder.display());
        return Err(CliError::refused(Exit::Config, message));
    }
    let adapter = LoadAdapter { name: Some(name.clone()), path: folder.to_owned(), expected: None };
    match backend.load_adapter(&adapter) {
        Ok(hash) => println!("{name}  {hash}"),
        Err(error) => eprintln!("{}: this adapter is not served: {}", folder.display(), with_causes(&error)),
    }
    Ok(())
}

/// The engine in this process.
fn here(args: &ServeArgs, base: &Base, mode: NumericMode) -> Result<Setup> {
    let counts = [args.max_running, args.max_waiting, args.max_waiting_per_key, args.prefill_tokens];
    if counts.contains(&0) || args.threads == Some(0) {
        let message =
            "--max-running, --max-waiting, --max-waiting-per-key, --prefill-tokens and --threads are at least 1";
        return Err(CliError::refused(Exit::Usage, message));
    }
    let unusable = |error| CliError::folder(&base.dir, error);
    let mut model = Model::load(&base.dir).and_then(|model| model.with_mode(mode)).map_err(unusable)?;
    if let Some(threads) = args.threads {
        model = model.with_runtime(Runtime::new(threads));
    }
    let limits = Limits {
        memory_bytes: args.kv_bytes.saturating_add(args.cache_bytes),
        idle_adapter_bytes: args.cache_bytes,
        slots: args.max_running,
        prefill_rows: args.prefill_tokens,
        queue: args.max_waiting,
        queue_per_tenant: args.max_waiting_per_key,
        ..Limits::default()
    };
    let (tokenizer, form) = (Arc::new(Tokenizer::load(&base.dir).map_err(unusable)?), ChatForm::of_base(&base.dir));
    let backend = Embedded::with_limits(Arc::new(model), tokenizer, form, &base.name, &limits, machine_clock());
    if let Some(folder) = &args.cache {
        backend.adapters().keep_packed_in(folder)?;
    }
    let counted = backend.clone();
    Ok(Setup {
        tokenizer: Arc::clone(backend.tokenizer()),
        form: backend.chat_form().clone(),
        eos: backend.model().config().eos.clone(),
        adapters: args.adapters.clone(),
        metrics: Some(Arc::new(move || counted.prometheus())),
        now: super::unix_now,
        backend: Arc::new(backend),
    })
}

/// Another server; what base and adapters are is known from the folders here.
fn there(base: &Base, adapters: Option<PathBuf>, peer: PeerSetup) -> Result<Setup> {
    let unusable = |error| CliError::folder(&base.dir, error);
    let (config, hash) = Model::identify(&base.dir).map_err(unusable)?;
    let (eos, url) = (config.eos.clone(), peer.url.clone());
    let setup = RemoteSetup { peer, base_name: base.name.clone(), base: BaseHash(hash.into()), config };
    let tokenizer = Arc::new(Tokenizer::load(&base.dir).map_err(unusable)?);
    let backend = Remote::new(setup, Arc::clone(&tokenizer))?;
    let unfit = |error| format!("{url}: {error}; check --remote and --remote-model, and that the server runs");
    backend.check().map_err(|error| CliError::refused(Exit::Unavailable, unfit(error)))?;
    let counted = backend.clone();
    Ok(Setup {
        tokenizer,
        form: ChatForm::of_base(&base.dir),
        eos,
        adapters,
        metrics: Some(Arc::new(move || counted.prometheus())),
        now: super::unix_now,
        backend: Arc::new(backend),
    })
}

/// The folders below `root` that hold an adapter, by name.
fn adapter_folders(root: Option<&Path>) -> Result<Vec<PathBuf>> {
    let Some(root) = root else { return Ok(Vec::new()) };
    let entries = std::fs::read_dir(root).map_err(CliError::file(root))?;
    let mut folders: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.join("adapter_config.json").is_file()).collect();
    folders.sort();
    Ok(folders)
}
