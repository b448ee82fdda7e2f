//! Runs a test body on both engines: SQLite in a folder, Postgres in a cluster that this binary starts.
//!
//! One cluster per binary, one database per case. The cluster is a child process that is killed, and its folder
//! removed, when the binary ends, also by a panic: a test binary drops no statics, so a shell that waits on a pipe
//! from us ends it, whatever way we go.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use openledger_store::{BlobsConfig, Store};
use tokio::runtime::Runtime;

/// The cluster, for as long as the binary runs.
struct Cluster {
    port: u16,
    /// Closed by the system when we end, however we end; the shell that reads it then stops the server.
    _lifeline: ChildStdin,
    _keeper: Child,
}

/// Starts the server given by `$1` (programs), `$2` (folder), `$3` (port), says `ready`, and stops it by its own
/// process id once standard input is at its end.
const KEEPER: &str = r#"
set -e
"$1/initdb" -D "$2/data" -U postgres -A trust --no-sync --no-locale -E UTF8 >"$2/log" 2>&1
"$1/postgres" -D "$2/data" -p "$3" -h 127.0.0.1 -k "$2" -F -c max_connections=400 >>"$2/log" 2>&1 </dev/null &
server=$!
until "$1/pg_isready" -q -h 127.0.0.1 -p "$3"; do kill -0 $server; sleep 0.1; done
echo ready
cat >/dev/null || true
kill -INT $server
wait $server || true
rm -rf "$2"
"#;

fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").map(|dirs| dirs.flatten().map(|dir| dir.path().join("bin")));
    let newest = versions.ok().and_then(|found| found.filter(|bin| bin.join("initdb").exists()).max());
    newest.expect("no PostgreSQL server programs under /usr/lib/postgresql: install the Debian package `postgresql`")
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::Builder::new().prefix("openledger-pg").tempdir().unwrap().keep();
        // The server refuses to run as root, so there it runs as the user that the package made.
        let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
        let mut command = if root {
            assert!(Command::new("chown").arg("postgres").arg(&folder).status().unwrap().success());
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "sh"]);
            command
        } else {
            Command::new("sh")
        };
        command.args(["-c", KEEPER, "keeper"]).arg(programs()).arg(&folder).arg(port.to_string());
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert_eq!(said, "ready\n", "the Postgres server did not start: {}", log());
        Cluster { port, _lifeline: keeper.stdin.take().unwrap(), _keeper: keeper }
    })
}

/// A fresh database on each engine, by its address.
async fn fresh_postgres() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("case_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let server = format!("postgres://postgres@127.0.0.1:{}", cluster().port);
    let pool = sqlx::PgPool::connect(&format!("{server}/postgres")).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&pool).await.unwrap();
    pool.close().await;
    format!("{server}/{name}")
}

/// Runs `body` with the address of an empty database on each engine.
pub(crate) fn for_each_url<F: Future<Output = ()>>(body: impl Fn(String) -> F) {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(body(format!("sqlite://{}", folder.path().join("deep/store.db").display())));
    runtime.block_on(async { body(fresh_postgres().await).await });
}

/// Runs `body` with an empty store on each engine.
pub(crate) fn for_each_engine<F: Future<Output = ()>>(body: impl Fn(Store) -> F) {
    let body = &body;
    for_each_url(|url| async move {
        let store = Store::open(&url, BlobsConfig::new("memory:")).await.unwrap();
        body(store.clone()).await;
        store.close().await;
    });
}

/// Runs one statement of a test on the database at `url`, beside the store.
pub(crate) async fn execute(url: &str, sql: &'static str) {
    if url.starts_with("sqlite") {
        let pool = sqlx::SqlitePool::connect(url).await.unwrap();
        sqlx::query(sql).execute(&pool).await.unwrap();
        pool.close().await;
    } else {
        let pool = sqlx::PgPool::connect(url).await.unwrap();
        sqlx::query(sql).execute(&pool).await.unwrap();
        pool.close().await;
    }
}
