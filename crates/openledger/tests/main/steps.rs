//! The thread typed step by step against a local network, as the README tells it: every verb with its own signer.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Ran, base, openledger, samples};

/// The longest a node may take to answer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// `openledger dev` in a folder of its own; ended with the test.
pub(crate) struct Network {
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Network {
    pub(crate) fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_openledger"))
            .args(["dev", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path())
            .arg("--base")
            .arg(base())
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let network = Self { child, folder };
        let since = Instant::now();
        while network.address().is_none() {
            assert!(since.elapsed() < PATIENCE, "the network did not say where it listens");
            std::thread::sleep(Duration::from_millis(50));
        }
        network
    }

    /// Where it listens, as it wrote it down.
    pub(crate) fn address(&self) -> Option<String> {
        let written = std::fs::read_to_string(self.folder.path().join("node.address")).ok()?;
        let written = written.trim();
        (!written.is_empty()).then(|| format!("http://{}", written.trim_start_matches("http://")))
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A verb that only reads.
    fn reads(&self, arguments: &[&str]) -> Ran {
        let address = self.address().unwrap();
        openledger(arguments.iter().copied().chain(["--node", &address]))
    }

    /// A verb of the node's operator.
    fn operates(&self, arguments: &[&str]) -> Ran {
        let token = self.file("operator.token");
        self.reads(&[arguments, &["--token-file", &token]].concat())
    }

    /// A verb that a demo identity signs.
    fn signs(&self, identity: &str, arguments: &[&str]) -> Ran {
        self.operates(&[arguments, &["--demo-seed", "1", "--as", identity]].concat())
    }

    /// The job that runs, once there is one.
    fn running_job(&self) -> String {
        let since = Instant::now();
        loop {
            let running = self.operates(&["job", "list", "--state", "running", "--json"]).exits(0).json();
            if let Some(job) = running["items"].as_array().unwrap().first() {
                return job["job"].to_string();
            }
            assert!(since.elapsed() < PATIENCE, "no job was begun");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Orders a model and cancels its job while it runs; returns the job and what the order came to.
    fn orders_and_cancels(&self, order: &[&str]) -> (String, Ran) {
        std::thread::scope(|scope| {
            let ordered = scope.spawn(|| self.operates(order));
            let job = self.running_job();
            self.operates(&["job", "cancel", &job]).exits(0);
            (job, ordered.join().unwrap())
        })
    }

    /// Keeps what a verb printed as a file.
    fn kept(&self, name: &str, ran: &Ran) -> String {
        let file = self.file(name);
        std::fs::write(&file, &ran.out).unwrap();
        file
    }
}

/// Who holds how much after a claim, and by which transaction it came.
fn claimed(ran: &Ran) -> BTreeMap<String, (u128, String)> {
    let told: Value = ran.json();
    let text = |claim: &Value, name: &str| claim[name].as_str().unwrap().to_owned();
    let claims = told["claims"].as_array().unwrap().iter();
    claims.map(|claim| (text(claim, "account"), (text(claim, "balance").parse().unwrap(), text(claim, "tx")))).collect()
}

#[test]
fn every_step_of_the_thread_can_be_typed() {
    let network = Network::start(&[]);
    let records = samples().join("bicycle-repair.jsonl");
    let records = records.to_str().unwrap();

    network.signs("owner", &["datanet", "create", "bicycle-repair", "--license", "CC-BY-4.0"]).exits(0);
    let contributed = network.signs("owner", &["datanet", "contribute", "1", records]).exits(0);
    assert!(contributed.out.contains("66 records accepted, 4 refused"), "{}", contributed.out);
    network.signs("owner", &["datanet", "publish", "1"]).exits(0);
    let refused = network.signs("owner", &["datanet", "grant", "1", "9"]).exits(3);
    assert!(refused.err.contains("datanet version `1/9`"), "{}", refused.err);

    // Without a grant nothing is trained, and the refusal says which version lacks it.
    let recipe = network.file("recipe.toml");
    std::fs::write(&recipe, "rank = 2\nmax_steps = 3\n").unwrap();
    let order = ["model", "train", "wrench", "--datanet", "1:1", "--recipe", &recipe];
    let refused = network.operates(&order);
    assert_ne!(refused.code, 0, "{}", refused.out);
    assert!(refused.err.contains("grant"), "{}", refused.err);

    network.signs("owner", &["datanet", "grant", "1", "1"]).exits(0);
    let trained = network.operates(&["model", "train", "wrenches", "--datanet", "1:1", "--recipe", &recipe]).exits(0);
    let job = trained.json()["job"].to_string();
    let publish = ["model", "publish", "wrenches", "--job", &job];
    network.signs("builder", &publish).exits(0);

    // A name that is taken costs no title, and a title that exists can be gone on with.
    let taken = network.signs("builder", &publish).exits(6);
    assert!(taken.err.contains("`wrenches` is model 1 already"), "{}", taken.err);
    network.signs("builder", &[&publish[..], &["--title", "1"]].concat()).exits(0);
    network.signs("owner", &["datanet", "create", "bicycle-repair"]).exits(6);
    let long = "x".repeat(5_000);
    let refused = network.signs("owner", &["datanet", "create", "tools", "--description", &long]).exits(2);
    assert!(refused.err.contains("give --title 2"), "{}", refused.err);
    let created = network.signs("owner", &["datanet", "create", "tools", "--title", "2"]).exits(0);
    assert!(created.out.contains("datanet 2"), "{}", created.out);

    // The job that made the model can be looked at, and has ended.
    let done = network.operates(&["job", "list", "--state", "done", "--json"]).exits(0).json();
    assert_eq!(done["items"][0]["job"].to_string(), job, "{done}");
    assert!(network.operates(&["job", "show", &job]).exits(0).out.contains("is done"));
    let followed = network.operates(&["job", "follow", &job]).exits(0);
    assert!(followed.out.contains(&format!("job {job} is done")), "{}", followed.out);
    network.operates(&["job", "cancel", &job]).exits(6);
    network.operates(&["job", "retry", &job]).exits(6);
    network.operates(&["job", "show", "99"]).exits(3);

    let channel = network.signs("reader", &["channel", "open", "20 OPEN"]).exits(0).json();
    // A deposit that is made needs no other, and a channel without one is not opened.
    let opened = network.signs("reader", &["channel", "open", "--deposited"]).exits(0).json();
    assert_eq!(opened, channel, "the same channel, deposit and key");
    let unpaid = network.signs("reader", &["channel", "open", "--deposited", "--name", "other"]).exits(5);
    assert!(!unpaid.err.contains("is made"), "{}", unpaid.err);
    for delay in ["0", "31"] {
        let refused = network.signs("reader", &["channel", "open", "5 OPEN", "--withdraw-delay", delay]).exits(2);
        assert!(refused.err.contains("from 1 to 30"), "{delay}: {}", refused.err);
    }
    // Another payer's channel may have the same name.
    network.signs("listener", &["channel", "open", "5 OPEN"]).exits(0);
    let key = network.file("api.key");
    std::fs::write(&key, channel["api_key"].as_str().unwrap()).unwrap();
    let question = "What torque does a cassette lockring need?";
    let ask = |model: &str| {
        network.reads(&["ask", "--model", model, "--max-tokens", "16", "--api-key-file", &key, "--json", question])
    };
    let answer = ask("wrenches").exits(0).json();
    assert_eq!(ask("spanners").exits(3).out, "", "a model nobody offers answers nothing");
    let receipt = answer["openledger"]["receipt_id"].as_str();
    let receipt = receipt.unwrap_or_else(|| panic!("no receipt in {answer}"));

    network.operates(&["epoch", "settle"]).exits(0);
    let first = claimed(&network.operates(&["claim", "--json"]).exits(0));
    assert!(!first.is_empty() && first.values().all(|(balance, _)| *balance > 0), "{first:?}");
    let again = claimed(&network.operates(&["claim", "--json"]).exits(0));
    assert_eq!(again, first, "claiming again moved something");

    // A second epoch is settled by the same words, and pays what is new.
    ask("wrenches").exits(0);
    network.operates(&["epoch", "settle"]).exits(0);
    let second = claimed(&network.operates(&["claim", "--json"]).exits(0));
    let grew = |account: &String| second[account].0 > first[account].0 && second[account].1 != first[account].1;
    assert!(first.keys().any(grew), "{first:?} {second:?}");

    for (list, head, cell) in [
        (&["datanet", "list"][..], "datanet  name", "bicycle-repair  CC-BY-4.0"),
        (&["model", "list"], "model  name", "0.5 OPEN"),
        (&["job", "list"], "job  kind", "train  done"),
        (&["receipt", "list"], "receipt", receipt),
        (&["epoch", "list"], "epoch  state", "finalized"),
        (&["epoch", "payouts", "1"], "account", " OPEN"),
    ] {
        let listed = network.operates(list).exits(0).out;
        assert!(listed.starts_with(head) && listed.contains(cell), "{list:?}: {listed}");
    }

    let bundle = network.kept("receipt.json", &network.operates(&["receipt", "show", receipt, "--json"]).exits(0));
    let epoch = network.kept("epoch.json", &network.reads(&["epoch", "export", "1"]).exits(0));
    let manifest = network.kept("manifest.json", &network.reads(&["model", "manifest", "wrenches"]).exits(0));
    assert!([&bundle, &epoch, &manifest].iter().all(|file| Path::new(file).is_file()));
    openledger(["receipt", "verify", &bundle, "--epoch", &epoch, "--manifest", &manifest]).exits(0);
    let audited = |scope: &str| network.operates(&["audit", scope]).exits(0).out;
    let books = audited("books");
    assert!(books.contains("epoch 2: every receipt") && !books.contains("WOPEN"), "{books}");
    let (supply, chain) = (audited("supply"), audited("chain"));
    assert!(supply.contains("WOPEN") && !supply.contains("receipt"), "{supply}");
    assert!(chain.contains("payout root") && !chain.contains("WOPEN"), "{chain}");
    network.operates(&["audit", "all"]).exits(0);
    network.reads(&["audit", "all"]).exits(4);
    // What is private needs a key: the payer's own, or the operator's.
    network.reads(&["receipt", "show", receipt, "--json"]).exits(4);
    network.reads(&["receipt", "show", receipt, "--json", "--api-key-file", &key]).exits(0);
}

#[test]
fn an_order_whose_job_was_cancelled_gives_a_new_job() {
    let network = Network::start(&[]);
    let records = samples().join("bicycle-repair.jsonl");
    network.signs("owner", &["datanet", "create", "bicycle-repair"]).exits(0);
    network.signs("owner", &["datanet", "contribute", "1", records.to_str().unwrap()]).exits(0);
    network.signs("owner", &["datanet", "publish", "1"]).exits(0);
    network.signs("owner", &["datanet", "grant", "1", "1"]).exits(0);
    let recipe = network.file("recipe.toml");
    std::fs::write(&recipe, "rank = 2\nmax_steps = 20000\n").unwrap();
    let order = ["model", "train", "wrenches", "--datanet", "1:1", "--recipe", &recipe];

    let (first, ran) = network.orders_and_cancels(&order);
    assert!(ran.exits(1).err.contains("was cancelled"));
    let followed = network.operates(&["job", "follow", &first]).exits(1);
    assert!(followed.out.contains(&format!("job {first} was cancelled")), "{}", followed.out);
    let (second, ran) = network.orders_and_cancels(&order);
    ran.exits(1);
    assert_ne!(first, second, "the cancelled job answered a new order");

    let queued = network.operates(&["job", "retry", &second]).exits(0);
    assert!(queued.out.contains(&format!("job {second}")), "{}", queued.out);
    network.operates(&["job", "retry", &first]).exits(6);
    network.operates(&["job", "cancel", &second]).exits(0);
    network.operates(&["job", "follow", &second]).exits(1);
}

#[test]
fn a_local_network_keeps_the_window_it_was_made_with() {
    let mut network = Network::start(&["--window", "9"]);
    network.child.kill().unwrap();
    network.child.wait().unwrap();
    let again = |more: &[&str]| {
        let dev = ["dev", "--listen", "127.0.0.1:0", "--data", network.folder.path().to_str().unwrap()];
        openledger(dev.iter().chain(&["--base", base().to_str().unwrap()]).chain(more))
    };
    let refused = again(&[]).exits(78);
    assert!(refused.err.contains("contracts.json") && refused.err.contains("window"), "{}", refused.err);
    assert!(again(&["--window", "601"]).exits(2).err.contains("1 to 600 seconds"));
}
