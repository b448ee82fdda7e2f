//! A Postgres cluster that a test binary starts in a temporary folder.
//!
//! One cluster per binary, as many databases as it asks for. The cluster is a child process that is
//! killed, and its folder removed, when the binary ends, also by a panic: a test binary drops no
//! statics, so a shell that waits on a pipe from us ends it, whatever way we go.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::kept::free_address;

/// The cluster, for as long as the binary runs.
struct Cluster {
    programs: PathBuf,
    port: u16,
    /// Closed by the system when we end, however we end; the shell that reads it then stops the
    /// server.
    _lifeline: ChildStdin,
    _keeper: Child,
}

/// Starts the server given by `$1` (programs), `$2` (folder), `$3` (port), says `ready`, and stops
/// it by its own process id once standard input is at its end.
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

/// The newest server's programs; `None`, told aloud, where there is no server.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").map(|dirs| dirs.flatten().map(|dir| dir.path().join("bin")));
    let newest = versions.ok().and_then(|found| found.filter(|bin| bin.join("initdb").exists()).max());
    if newest.is_none() {
        super::skip("no PostgreSQL; install the Debian package `postgresql`, as `cargo xtask test` does");
    }
    newest
}

fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| {
        let programs = programs()?;
        let port = free_address().port();
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
        command.args(["-c", KEEPER, "keeper"]).arg(&programs).arg(&folder).arg(port.to_string());
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert_eq!(said, "ready\n", "the Postgres server did not start: {}", log());
        Some(Cluster { programs, port, _lifeline: keeper.stdin.take().unwrap(), _keeper: keeper })
    });
    cluster.as_ref()
}

/// The address of a new, empty database; `None`, told aloud, where Postgres is not installed.
pub(crate) fn database() -> Option<String> {
    cluster().map(|cluster| cluster.create("template1"))
}

/// The address of a new database with all that is in the one at `url`, to which nobody may be
/// connected.
pub(crate) fn copy_of(url: &str) -> String {
    let name = url.rsplit('/').next().unwrap();
    cluster().unwrap().create(name)
}

impl Cluster {
    fn create(&self, template: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("case_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let port = self.port.to_string();
        let made = Command::new(self.programs.join("createdb"))
            .args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-T", template, &name])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        format!("postgres://postgres@127.0.0.1:{port}/{name}")
    }
}
