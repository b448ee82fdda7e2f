//! A server that ends with the test that started it.
//!
//! The server is a child of a shell that waits on a pipe from us: when the pipe is closed, by a
//! drop or because the test binary ended in whatever way, the shell ends the server by its process
//! id.

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to listen.
const READY_MAX: Duration = Duration::from_secs(60);

const KEEPER: &str = r#"
"$@" </dev/null >/dev/null 2>&1 &
server=$!
cat >/dev/null || true
kill -KILL $server
wait $server
"#;

/// A running server.
pub(crate) struct Kept {
    lifeline: Option<ChildStdin>,
    keeper: Child,
}

impl Kept {
    /// Starts a program that listens at `address`, and waits until it does.
    pub(crate) fn start(program: &OsStr, arguments: &[&str], address: SocketAddr) -> Self {
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let kept = Self { lifeline: keeper.stdin.take(), keeper };
        let since = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(since.elapsed() < READY_MAX, "{} does not listen at {address}", program.display());
            std::thread::sleep(Duration::from_millis(50));
        }
        kept
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        self.keeper.wait().ok();
    }
}

/// An address of this machine with a port that is free now.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
