//! `openledger serve`: adapters over OpenAI's API, on plain folders: no node, no chain, no receipts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use openledger_engine::{Model, NumericMode, Runtime, Tokenizer};
use openledger_node::Answering;
use openledger_protocol::BaseHash;
use openledger_serving::http::{Server, Setup, router};
use openledger_serving::{ChatForm, Embedded, Limits, LoadAdapter, PeerSetup, Remote, RemoteSetup, machine_clock};

use super::answering::AnsweringArgs;
use crate::error::{CliError, Exit, Result};
use crate::hub::{self, Base};

/// Arguments of `openledger serve`.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// The base model's folder, asked for by its name; or the base's name on the hub, `org/name[@revision]`, asked for by that.
    #[arg(long, value_name = "DIR|ID")]
    base: PathBuf,
    /// Keep to models that are here: no word to the hub.
    #[arg(long)]
    offline: bool,
    /// Folder of adapter folders; each is asked for by its folder's name. More can be loaded from it while serving.
    #[arg(long, value_name = "DIR")]
    adapters: Option<PathBuf>,
    /// The port; 0 takes a free one. The address is printed.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// About how many bytes of adapters stay in memory while nobody uses them.
    #[arg(long, value_name = "N", default_value_t = 256 << 20)]
    cache_bytes: usize,
    /// Folder to keep packed adapters in, so that cold ones are mapped at once and unchanged ones not read at the next
    /// start. Who may write there can answer in the adapters' name: it is made for you alone, and refused if others may
    /// write it. It may be emptied at any time.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Bytes of keys and values, beside those of adapters; a request waits until its longest answer fits.
    #[arg(long, value_name = "N", default_value_t = 1 << 30)]
    kv_bytes: usize,
    /// Threads that compute; without, as many as the machine offers. Answers do not depend on it.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Answers that are written at once.
    #[arg(long, value_name = "N", default_value_t = Limits::default().slots)]
    max_running: usize,
    /// Requests that may wait; the next is told to come back (503).
    #[arg(long, value_name = "N", default_value_t = Limits::default().queue)]
    max_waiting: usize,
    /// Requests of one API key that may wait; the next is told to come back (429).
    #[arg(long, value_name = "N", default_value_t = Limits::default().queue_per_tenant)]
    max_waiting_per_key: usize,
    /// Prompt tokens that go into one step beside the answers being written.
    #[arg(long, value_name = "N", default_value_t = Limits::default().prefill_rows)]
    prefill_tokens: usize,
    #[command(flatten)]
    answering: AnsweringArgs,
}

/// Serves until Ctrl-C.
pub(crate) async fn run(args: ServeArgs) -> Result<()> {
    let base = hub::base(&args.base, args.offline).await?;
    let name = base.name.clone();
    let face = match args.answering.choice(&name, args.adapters.as_deref())? {
        Answering::Here(mode) => here(&args, &base, mode)?,
        Answering::There(peer) => {
            let adapters = args.adapters.clone();
            super::blocking(move || there(&base, adapters, peer)).await?
        }
    };
    for folder in adapter_folders(args.adapters.as_deref())? {
        let adapter = LoadAdapter { name: Some(self::name(&folder)), path: folder.clone(), expected: None };
        println!("{}  {}", self::name(&folder), face.backend.load_adapter(&adapter)?);
    }
    let own = face.backend.capabilities();
    println!("base {}  {}  mode {}", own.base_name, own.base, own.numeric_mode);
    let address = SocketAddr::from(([127, 0, 0, 1], args.port));
    let busy = |error: std::io::Error| CliError::refused(Exit::Unavailable, format!("{address}: {error}"));
    let listener = tokio::net::TcpListener::bind(address).await.map_err(busy)?;
    println!("listening on http://{}", listener.local_addr().map_err(busy)?);
    let until = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, router(Arc::new(Server::new(face)))).with_graceful_shutdown(until).await.map_err(busy)
}

/// The engine in this process.
fn here(args: &ServeArgs, base: &Base, mode: NumericMode) -> Result<Setup> {
    let counts = [args.max_running, args.max_waiting, args.max_waiting_per_key, args.prefill_tokens];
    if counts.contains(&0) || args.threads == Some(0) {
        let message =
            "--max-running, --max-waiting, --max-waiting-per-key, --prefill-tokens and --threads are at least 1";
        return Err(CliError::refused(Exit::Usage, message));
    }
    let mut model = Model::load(&base.dir)?.with_mode(mode)?;
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
    let (tokenizer, form) = (Arc::new(Tokenizer::load(&base.dir)?), ChatForm::of_base(&base.dir));
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
    let (config, hash) = Model::identify(&base.dir)?;
    let (eos, url) = (config.eos.clone(), peer.url.clone());
    let setup = RemoteSetup { peer, base_name: base.name.clone(), base: BaseHash(hash.into()), config };
    let tokenizer = Arc::new(Tokenizer::load(&base.dir)?);
    let backend = Remote::new(setup, Arc::clone(&tokenizer))?;
    backend.check().map_err(|error| CliError::refused(Exit::Unavailable, format!("{url}: {error}")))?;
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

fn name(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    folder.file_name().map_or_else(|| "base".to_owned(), |name| name.to_string_lossy().into_owned())
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
