//! An S3 server in memory: moto, at the version that `crates/gateway/tests/stock/setup.sh`
//! installs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use super::kept::{Kept, free_address};

/// The bucket that the server starts with.
const BUCKET: &str = "openledger";

/// A running server with one bucket.
pub(crate) struct S3 {
    endpoint: String,
    _server: Kept,
}

impl S3 {
    /// Starts a server; `None`, told aloud, where moto is not installed.
    pub(crate) fn start() -> Option<Self> {
        let program = program();
        if !program.exists() {
            super::skip(&format!("{} is not there; run crates/gateway/tests/stock/setup.sh", program.display()));
            return None;
        }
        let address = free_address();
        let port = address.port().to_string();
        let server = Kept::start(program.as_os_str(), &["-H", "127.0.0.1", "-p", &port], address);
        let mut connection = TcpStream::connect(address).unwrap();
        let create =
            format!("PUT /{BUCKET} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        connection.write_all(create.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.split(' ').nth(1) == Some("200"), "the bucket was not made: {answer}");
        Some(Self { endpoint: format!("http://{address}"), _server: server })
    }

    /// The variables by which a process finds the server.
    pub(crate) fn environment(&self) -> [(&'static str, &str); 5] {
        [
            ("AWS_ENDPOINT_URL", &self.endpoint),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "tests"),
            ("AWS_SECRET_ACCESS_KEY", "tests"),
        ]
    }

    /// The address of a blob store in the bucket.
    pub(crate) fn blobs(prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}")
    }
}

fn program() -> PathBuf {
    let stock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/stock");
    let stock = std::env::var_os("OPENLEDGER_STOCK").map_or(stock, PathBuf::from);
    stock.join("python/bin/moto_server")
}
