//! `openledger serve`: adapters over OpenAI's API, on plain folders: no node, no chain, no receipts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use openledger_serving::Embedded;
use openledger_serving::http::{Server, Setup, router};

use crate::error::{CliError, Exit, Result};

/// Arguments of `openledger serve`.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// The base model's folder; asked for by its name.
    #[arg(long, value_name = "DIR")]
    base: PathBuf,
    /// Folder of adapter folders; each is asked for by its folder's name. More can be loaded from it while serving.
    #[arg(long, value_name = "DIR")]
    adapters: Option<PathBuf>,
    /// The port; 0 takes a free one. The address is printed.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// About how many bytes of adapters stay in memory.
    #[arg(long, value_name = "N", default_value_t = 256 << 20)]
    cache_bytes: usize,
    /// Folder to keep packed adapters in, so that cold ones are mapped at once and unchanged ones not read at the next
    /// start. Who may write there can answer in the adapters' name: it is made for you alone, and refused if others may
    /// write it. It may be emptied at any time.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// Serves until Ctrl-C.
pub(crate) async fn run(args: ServeArgs) -> Result<()> {
    let base = name(&args.base);
    let backend = Embedded::load(&args.base, &base, args.cache_bytes)?;
    if let Some(folder) = &args.cache {
        backend.adapters().keep_packed_in(folder)?;
    }
    for folder in adapter_folders(args.adapters.as_deref())? {
        let hash = backend.adapters().register(&folder)?;
        backend.adapters().set_alias(&name(&folder), hash, None)?;
        println!("{}  {hash}", name(&folder));
    }
    let address = SocketAddr::from(([127, 0, 0, 1], args.port));
    let busy = |error: std::io::Error| CliError::refused(Exit::Unavailable, format!("{address}: {error}"));
    let listener = tokio::net::TcpListener::bind(address).await.map_err(busy)?;
    println!("listening on http://{}", listener.local_addr().map_err(busy)?);
    let counted = backend.clone();
    let server = Server::new(Setup {
        tokenizer: Arc::clone(backend.tokenizer()),
        form: backend.chat_form().clone(),
        eos: backend.model().config().eos.clone(),
        adapters: args.adapters,
        metrics: Some(Arc::new(move || counted.prometheus())),
        now: || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        backend: Arc::new(backend),
    });
    let until = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, router(Arc::new(server))).with_graceful_shutdown(until).await.map_err(busy)
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
