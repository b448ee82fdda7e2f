//! Running commands: one place that prints, times and fails.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// A step that did not succeed, and the exit status to leave with.
#[derive(Debug)]
pub(crate) struct Failed {
    /// What, and what to do about it.
    pub(crate) what: String,
    /// The exit status: the step's own where it has one.
    pub(crate) status: u8,
}

impl Failed {
    pub(crate) fn new(what: impl Into<String>, status: u8) -> Self {
        Self { what: what.into(), status }
    }
}

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// A command in the checkout's root.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// Runs `command` to its end.
pub(crate) fn run(command: &mut Command) -> Result<(), Failed> {
    let shown = format!("{command:?}").replace('"', "");
    eprintln!("\x1b[2m$ {shown}\x1b[0m");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
            Err(Failed::new(format!("`{shown}` ended with {status}"), code))
        }
        Err(error) => Err(Failed::new(format!("could not start `{shown}`: {error}"), 69)),
    }
}

/// How long each part took.
#[derive(Default)]
pub(crate) struct Times(Vec<(&'static str, f64)>);

impl Times {
    /// Runs one part and notes its seconds.
    pub(crate) fn part(&mut self, name: &'static str, part: impl FnOnce() -> Result<(), Failed>) -> Result<(), Failed> {
        eprintln!("\n== {name}");
        let start = Instant::now();
        let done = part();
        self.0.push((name, start.elapsed().as_secs_f64()));
        done
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        eprintln!("\n   seconds  part");
        for (name, seconds) in &self.0 {
            eprintln!("{seconds:>10.1}  {name}");
        }
        eprintln!("{:>10.1}  all", self.0.iter().map(|(_, seconds)| seconds).sum::<f64>());
    }
}
