//! The parts that the commands are made of.

use std::process::Stdio;

use crate::run::{Failed, Times, command, root, run};
use crate::setup;

/// Builds the Studio and the binary, which holds its pages.
pub(crate) fn build() -> Result<(), Failed> {
    setup::for_build()?;
    studio()?;
    eprintln!("building openledger (a first build compiles an EVM node and its database: about 20 minutes on 2 cores)");
    run(&mut command("cargo", &["build", "--locked", "--package", "openledger"]))
}

/// Builds the Studio's pages.
pub(crate) fn studio() -> Result<(), Failed> {
    setup::node_modules("studio")?;
    run(command("npm", &["run", "--silent", "build"]).current_dir(root().join("studio")))
}

/// Runs the demo.
pub(crate) fn demo(arguments: &[String]) -> Result<(), Failed> {
    build()?;
    let mut demo = command("target/debug/openledger", &["demo"]);
    run(demo.args(arguments))
}

/// Compiles the contracts and writes the committed artifacts.
pub(crate) fn contracts() -> Result<(), Failed> {
    setup::node_modules("contracts")?;
    run(command("node", &["tools/build.js"]).current_dir(root().join("contracts")))
}

/// Generates the golden vectors.
pub(crate) fn vectors() -> Result<(), Failed> {
    // The first package's cases are a test binary, the second's a module of one.
    let formats = ["test", "--locked", "--package", "openledger-protocol", "--test", "vectors"];
    run(command("cargo", &formats).env("UPDATE_VECTORS", "1"))?;
    let splits = ["test", "--locked", "--package", "openledger-ledger", "--test", "main", "vectors::"];
    run(command("cargo", &splits).env("UPDATE_VECTORS", "1"))
}

/// What each commit must pass: formats, lints, types, the rules of the source tree and the
/// documentation. No product test runs.
///
/// The quick steps come first, so that a slip ends the command within seconds.
pub(crate) fn check() -> Result<(), Failed> {
    let mut times = Times::default();
    let done = check_parts(&mut times);
    times.print();
    done
}

fn check_parts(times: &mut Times) -> Result<(), Failed> {
    let contracts_dir = root().join("contracts");
    let studio_dir = root().join("studio");
    times.part("set-up", || {
        setup::for_build()?;
        setup::node_modules("contracts")?;
        setup::node_modules("studio")
    })?;
    times.part("rust: format", || run(&mut command("cargo", &["fmt", "--all", "--check"])))?;
    times.part("contracts: format", || run(command(&forge(), &["fmt", "--check"]).current_dir(&contracts_dir)))?;
    times.part("studio: lint and types", || {
        run(command("npm", &["run", "--silent", "lint"]).current_dir(&studio_dir))?;
        run(command("npm", &["run", "--silent", "types"]).current_dir(&studio_dir))
    })?;
    times.part("rules of the source tree", || {
        run(&mut command("cargo", &["test", "--locked", "--quiet", "--package", "xtask"]))
    })?;
    times.part("rust: clippy", clippy)?;
    times.part("rust: documentation", doc)
}

fn clippy() -> Result<(), Failed> {
    run(&mut command("cargo", &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// Builds the documentation of every crate of the workspace; a warning is an error.
pub(crate) fn doc() -> Result<(), Failed> {
    setup::for_build()?;
    run(command("cargo", &["doc", "--locked", "--no-deps", "--workspace"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// Everything that must hold.
pub(crate) fn test(long: bool) -> Result<(), Failed> {
    let mut times = Times::default();
    let done = test_parts(&mut times, long);
    times.print();
    done
}

fn test_parts(times: &mut Times, long: bool) -> Result<(), Failed> {
    let contracts_dir = root().join("contracts");
    let studio_dir = root().join("studio");
    times.part("set-up", || {
        setup::for_tests()?;
        setup::node_modules("contracts")?;
        setup::node_modules("conformance")?;
        setup::node_modules("studio")
    })?;
    times.part("contracts: artifacts are fresh", || {
        run(command("node", &["tools/build.js", "--check"]).current_dir(&contracts_dir))
    })?;
    times.part("contracts: forge", || {
        let forge = forge();
        let profile = if long { "long" } else { "default" };
        run(command(&forge, &["fmt", "--check"]).current_dir(&contracts_dir))?;
        run(command(&forge, &["test"]).current_dir(&contracts_dir).env("FOUNDRY_PROFILE", profile))?;
        let gas = ["test", "--match-path", "test/Gas.t.sol"];
        run(command(&forge, &gas).current_dir(&contracts_dir).env("FORGE_SNAPSHOT_CHECK", "true"))
    })?;
    if long {
        times.part("contracts: coverage, slither, halmos", || contract_tools(&contracts_dir))?;
    }
    times.part("studio: types, tests, build", || {
        let mut check = command("npm", &["run", "--silent", "check"]);
        if long {
            check.env("LONG", "1");
        }
        run(check.current_dir(&studio_dir))?;
        run(command("npm", &["run", "--silent", "build"]).current_dir(&studio_dir))
    })?;
    times.part("rust: format", || run(&mut command("cargo", &["fmt", "--all", "--check"])))?;
    times
        .part("gateway: stock clients, set-up", || run(&mut command("sh", &["crates/gateway/tests/stock/setup.sh"])))?;
    times.part("rust: build", || run(&mut command("cargo", &["test", "--locked", "--workspace", "--no-run"])))?;
    times.part("rust: tests", || {
        let mut tests = command("cargo", &["test", "--locked", "--workspace", "--no-fail-fast"]);
        // The set-up installed them all, so that a test that finds one missing fails.
        tests.env("OPENLEDGER_ALL_TOOLS", "1");
        if long {
            tests.env("OPENLEDGER_LONG", "1");
        }
        run(&mut tests)
    })?;
    if long {
        times.part("rust: the engine with every check", || {
            let checked = ["test", "--locked", "--profile", "checked", "--package", "openledger-engine"];
            run(&mut command("cargo", &checked))
        })?;
    }
    times.part("chain: viem, ethers and cast", || {
        run(&mut command("cargo", &["build", "--locked", "--package", "openledger"]))?;
        run(command("npm", &["test", "--silent"]).current_dir(root().join("conformance")))
    })?;
    times.part("rust: clippy", clippy)?;
    times.part("studio: browser", || run(command("npm", &["run", "--silent", "browser"]).current_dir(&studio_dir)))
}

/// What takes Python tools, in an environment of its own: coverage is forge's, the others come at
/// pinned versions.
fn contract_tools(contracts: &std::path::Path) -> Result<(), Failed> {
    let forge = forge();
    let coverage =
        ["coverage", "--report", "summary", "--no-match-contract", "GasTest|InvariantsTest", "--fuzz-runs", "32"];
    run(command(&forge, &coverage).current_dir(contracts))?;
    let venv = root().join(".venv");
    if !venv.join("bin/halmos").exists() {
        run(&mut command("python3", &["-m", "venv", &venv.display().to_string()]))?;
        let pip = venv.join("bin/pip").display().to_string();
        run(&mut command(&pip, &["install", "--quiet", "slither-analyzer==0.11.6", "halmos==0.3.3"]))?;
    }
    let tools = std::path::Path::new(&forge).parent().map(|dir| dir.display().to_string()).unwrap_or_default();
    let path = format!("{}:{tools}:{}", venv.join("bin").display(), std::env::var("PATH").unwrap_or_default());
    let slither = [".", "--config-file", "slither.config.json", "--fail-medium"];
    run(command("slither", &slither).current_dir(contracts).env("PATH", &path))?;
    // The split takes its solver most of a minute on a machine that has nothing else to do.
    let halmos = ["--contract", "Proofs", "--solver-timeout-assertion", "900000"];
    run(command("halmos", &halmos).current_dir(contracts).env("PATH", &path))
}

/// The forge program of the pinned package: the native file itself, not its launcher.
fn forge() -> String {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    root().join(format!("contracts/node_modules/@foundry-rs/forge-linux-{arch}/bin/forge")).display().to_string()
}

/// Measures one part beside its named peers and prints the table; nothing of it is a test.
pub(crate) fn bench(what: &str, arguments: &[String]) -> Result<(), Failed> {
    setup::for_build()?;
    match what {
        "chain" => {
            setup::node_modules("contracts")?;
            let cargo = ["bench", "--locked", "--profile", "dev", "-p", "openledger", "-p", "openledger-chain"];
            run(command("cargo", &cargo).args(["--bench", "chain", "--"]).args(arguments))
        }
        "serving" => {
            setup::for_tests()?;
            run(&mut command("cargo", &["build", "--locked", "--package", "openledger"]))?;
            let bench = ["bench/serving/bench.py", "--server", "target/debug/openledger"];
            run(command("python3", &bench).args(arguments))
        }
        "reads" => {
            // The features are those of the tests, so that nothing is compiled twice.
            let test = ["test", "--locked", "--workspace", "--test", "gateway_main", "--"];
            let figures = ["--exact", "--nocapture", "node::scale::figures_of_a_full_history"];
            let mut bench = command("cargo", &test);
            bench.env("OPENLEDGER_BENCH", "1");
            if let Some(database) = arguments.first() {
                bench.env("OPENLEDGER_BENCH_DATABASE", database);
            }
            run(bench.args(figures))
        }
        _ => Err(Failed::new("usage: cargo xtask bench chain|reads|serving".to_owned(), 2)),
    }
}

/// Licences, bans and sources of all dependencies; with `advisories` known vulnerabilities too,
/// from a database that is fetched.
pub(crate) fn deny(advisories: bool) -> Result<(), Failed> {
    let there = command("cargo", &["deny", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !there {
        run(&mut command("cargo", &["install", "--locked", "cargo-deny@0.20.2"]))?;
    }
    let mut check = command("cargo", &["deny", "check", "licenses", "bans", "sources"]);
    if advisories {
        check.arg("advisories");
    }
    run(&mut check)
}
