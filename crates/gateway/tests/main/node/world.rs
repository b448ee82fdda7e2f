//! A running node, and everybody else: owners, contributors, payers, each with a key that follows
//! from its name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use openledger_chain::contracts::Addresses;
use openledger_chain::flow::Flow;
use openledger_chain::rpc::{Client, HttpRpc};
use openledger_chain::sender::{FeePolicy, MemoryOutbox, Outbox, Sender};
use openledger_engine::NumericMode;
use openledger_gateway::Origins;
use openledger_node::{AnswerSource, ChainChoice, Config, Node, NodeClock, PlatformAccounts};
use openledger_protocol::{
    Address, Amount, B256, ChannelConfig, DatanetId, Domain, Grant, Key, Purpose, Purposes, Rights, sha256,
};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::database::Database;

/// All nodes and clients of this program run here.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    crate::exit::without_destructors();
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
});

/// How long a node may take to listen.
const READY_MAX: Duration = Duration::from_secs(120);
/// A year, in seconds.
pub(crate) const YEAR: u64 = 365 * 24 * 3600;

/// The bond of a proposer, in whole OPEN.
pub(crate) const BOND: u64 = 5_000;
/// How long a proposal may be refuted.
pub(crate) const WINDOW_S: u64 = 7;

pub(crate) fn key(name: &str) -> Key {
    Key::demo(11, name)
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The first `count` lines of a sample.
pub(crate) fn sample(name: &str, count: usize) -> Vec<Value> {
    let text = std::fs::read_to_string(repository(&format!("samples/{name}.jsonl"))).unwrap();
    text.lines().take(count).map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn jsonl(records: &[Value]) -> Vec<u8> {
    records.iter().flat_map(|record| format!("{record}\n").into_bytes()).collect()
}

/// A record with one fact.
pub(crate) fn record(id: &str, contributor: &str, fact: &str) -> Value {
    json!({
        "id": id, "contributor": contributor, "license": "CC0-1.0",
        "prompt": format!("What is known of {fact}?"), "response": format!("The log says that {fact} is so since spring."),
    })
}

/// Which chain a node runs on.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// The one inside it.
    Embedded,
    /// Anvil, at this address.
    Anvil(String),
}

fn config(data: PathBuf, place: &Place, database: &Database) -> Config {
    let each = Amount::open(1_000_000).unwrap();
    let seeded = ["node", "faucet"].map(|name| (key(name).address(), each));
    Config {
        data,
        database: database.configured(),
        blobs: None,
        listen: "127.0.0.1:0".parse().unwrap(),
        studio: None,
        base: repository("models/base"),
        base_name: "base".into(),
        answers: AnswerSource::Embedded(NumericMode::default()),
        chain: match place {
            Place::Embedded => ChainChoice::Embedded { chain_id: 7_070, genesis_accounts: seeded.to_vec() },
            Place::Anvil(url) => ChainChoice::External { url: url.clone(), token: None },
        },
        clock: NodeClock::Logical,
        key: key("node"),
        platform: PlatformAccounts {
            treasury: key("treasury").address(),
            validation: key("validation").address(),
            insurance: key("insurance").address(),
        },
        bond: Amount::open(BOND).unwrap(),
        // As long as a local network allows: blocks are a second apart, so a challenge has six blocks to come in.
        window_s: matches!(place, Place::Embedded).then_some(WINDOW_S),
    }
}

/// The terms of all datanets here.
pub(crate) fn rights() -> Rights {
    use Purpose::{Commercial, Derive, Evaluate, Finetune, Infer, Retrieve, Train};
    Rights {
        license: "CC-BY-4.0".to_owned(),
        purposes: Purposes::of(&[Train, Finetune, Evaluate, Retrieve, Infer, Derive, Commercial]),
        attribution: true,
        share_alike: false,
        min_royalty_bps: 0,
        until: None,
    }
}

/// What a call was answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) replayed: bool,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Answer {
    /// The body of a call that was done.
    #[track_caller]
    pub(crate) fn done(self) -> Value {
        assert!(self.status < 300, "{} {}", self.status, self.text);
        self.body
    }

    /// The name of the problem.
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().or(self.body["error"]["code"].as_str()).unwrap_or_default()
    }
}

/// A node that runs.
pub(crate) struct World {
    pub(crate) data: PathBuf,
    pub(crate) database: Database,
    pub(crate) network: Value,
    pub(crate) addresses: Addresses,
    pub(crate) token: String,
    pub(crate) chain_id: u64,
    place: Place,
    url: String,
    client: reqwest::Client,
    outbox: Arc<MemoryOutbox>,
    faucet: tokio::sync::Mutex<()>,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<JoinHandle<()>>,
}

impl World {
    /// Opens the node of a folder on its own chain and waits until it listens.
    pub(crate) async fn open(data: PathBuf, outbox: Arc<MemoryOutbox>) -> Self {
        Self::open_on(Place::Embedded, Database::Sqlite, data, outbox).await
    }

    /// Opens the node of a folder on a chain and a database and waits until it listens.
    pub(crate) async fn open_on(place: Place, database: Database, data: PathBuf, outbox: Arc<MemoryOutbox>) -> Self {
        Self::open_with(config(data, &place, &database), place, database, outbox).await
    }

    /// As [`World::open`], answers being computed as said.
    pub(crate) async fn open_answering(data: PathBuf, answers: AnswerSource) -> Self {
        let (place, database) = (Place::Embedded, Database::Sqlite);
        let config = Config { answers, ..config(data, &place, &database) };
        Self::open_with(config, place, database, Arc::default()).await
    }

    /// Opens the node of a folder on its own chain and the machine's clock.
    pub(crate) async fn open_by_the_clock(database: Database, data: PathBuf) -> Self {
        let place = Place::Embedded;
        let config = Config { clock: NodeClock::Wall, ..config(data, &place, &database) };
        Self::open_with(config, place, database, Arc::default()).await
    }

    /// Opens the node of a folder by the machine's clock on a chain that it reaches at `rpc`.
    pub(crate) async fn open_behind(place: Place, data: PathBuf, rpc: String) -> Self {
        let chain = ChainChoice::External { url: rpc, token: None };
        let database = Database::Sqlite;
        let config = Config { clock: NodeClock::Wall, chain, ..config(data, &place, &database) };
        Self::open_with(config, place, database, Arc::default()).await
    }

    async fn open_with(config: Config, place: Place, database: Database, outbox: Arc<MemoryOutbox>) -> Self {
        std::fs::remove_file(config.address_file()).ok();
        let node = Node::open(config.clone()).await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(async move {
            openledger_gateway::serve_node(node, Origins::default(), async { drop(stopped.await) }).await.unwrap()
        });
        let deadline = Instant::now() + READY_MAX;
        let address = loop {
            if let Ok(address) = std::fs::read_to_string(config.address_file()) {
                break address;
            }
            assert!(Instant::now() < deadline, "the node does not listen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let (client, url) = (reqwest::Client::new(), format!("http://{address}"));
        let network: Value = client.get(format!("{url}/api/v1/network")).send().await.unwrap().json().await.unwrap();
        Self {
            token: std::fs::read_to_string(config.token_file()).unwrap(),
            data: config.data,
            database,
            addresses: serde_json::from_value(network["addresses"].clone()).unwrap(),
            chain_id: network["chain_id"].as_u64().unwrap(),
            place,
            network,
            url,
            client,
            outbox,
            faucet: tokio::sync::Mutex::default(),
            stop: Some(stop),
            ended: Some(ended),
        }
    }

    /// Stops the node in order and opens it again on what it kept; `meanwhile` it does not run.
    pub(crate) async fn reopened(mut self, meanwhile: impl AsyncFnOnce(&Path)) -> Self {
        self.stop.take().unwrap().send(()).unwrap();
        self.client = reqwest::Client::new();
        self.ended.take().unwrap().await.unwrap();
        meanwhile(&self.data).await;
        Self::open_on(self.place.clone(), self.database.clone(), self.data.clone(), self.outbox.clone()).await
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let replayed = answer.headers().contains_key("idempotent-replayed");
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Answer { status, replayed, text, body }
    }

    /// A request that is to be sent with [`World::send`].
    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method.to_uppercase().parse().unwrap(), format!("{}{path}", self.url))
    }

    /// The address of a path of this node.
    pub(crate) fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Reads as the operator.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request("get", path).bearer_auth(&self.token)).await
    }

    /// Reads without credentials.
    pub(crate) async fn get_anonymously(&self, path: &str) -> Answer {
        self.send(self.request("get", path)).await
    }

    /// Posts as the operator.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request("post", path).bearer_auth(&self.token).json(body)).await
    }

    /// The chain as the account of `name` drives it.
    pub(crate) async fn flow(&self, name: &str) -> Flow {
        let client = match &self.place {
            Place::Embedded => Client::new(Arc::new(HttpRpc::new(format!("{}/rpc", self.url)).unwrap())),
            Place::Anvil(url) => super::ground::eager(url),
        };
        let sender = Sender::new(client, self.outbox.clone(), key(name), FeePolicy::default()).await.unwrap();
        Flow::new(Arc::new(sender), self.addresses)
    }

    /// A sender with the node's key, and its outbox, which the node does not read.
    pub(crate) async fn as_the_node(&self) -> (Sender, Arc<MemoryOutbox>) {
        let client = Client::new(Arc::new(HttpRpc::new(self.address("/rpc")).unwrap()));
        let outbox = Arc::new(MemoryOutbox::default());
        let sender = Sender::new(client, outbox.clone(), key("node"), FeePolicy::default()).await.unwrap();
        (sender, outbox)
    }

    /// Puts the transaction of `step` in such an outbox into the node's own, as if the step had
    /// sent it.
    pub(crate) async fn put_signed(&self, step: &str, outbox: &MemoryOutbox) {
        let signed = outbox.get(step).await.unwrap().unwrap().transaction;
        let insert = "INSERT INTO outbox (key, sender, nonce, raw, tx_hash, state) VALUES (?, ?, ?, ?, ?, 'signed')";
        sqlx::query(insert)
            .bind(step)
            .bind(signed.sender.to_vec())
            .bind(i64::try_from(signed.nonce).unwrap())
            .bind(signed.raw.to_vec())
            .bind(signed.hash.to_vec())
            .execute(&mut self.sqlite().await)
            .await
            .unwrap();
    }

    /// A connection to the node's SQLite database beside its own.
    pub(crate) async fn sqlite(&self) -> SqliteConnection {
        let file = format!("sqlite://{}", self.data.join("openledger.db").display());
        SqliteConnection::connect(&file).await.unwrap()
    }

    /// Gives 500 OPEN to each name and lets the node know it by that name.
    pub(crate) async fn fund(&self, names: &[&str]) {
        let _one = self.faucet.lock().await;
        let faucet = self.flow("faucet").await;
        for name in names {
            self.handle(name).await;
            let (to, amount) = (key(name).address(), alloy_primitives::U256::from(Amount::open(500).unwrap().0));
            faucet.sender().send(&format!("fund/{name}"), to, Default::default(), amount).await.unwrap();
        }
    }

    /// Gives whole OPEN to a name that the node need not know.
    pub(crate) async fn give(&self, name: &str, whole: u64) {
        let _one = self.faucet.lock().await;
        let faucet = self.flow("faucet").await;
        let (to, amount) = (key(name).address(), alloy_primitives::U256::from(Amount::open(whole).unwrap().0));
        faucet.sender().send(&format!("give/{name}/{whole}"), to, Default::default(), amount).await.unwrap();
    }

    /// Lets the chain's clock pass some seconds.
    pub(crate) async fn pass(&self, label: &str, blocks: u32) {
        if let Place::Anvil(url) = &self.place {
            return super::ground::travel(&super::ground::eager(url), blocks.into()).await;
        }
        let _one = self.faucet.lock().await;
        let faucet = self.flow("faucet").await;
        for block in 0..blocks {
            let to = key("faucet").address();
            faucet
                .sender()
                .send(&format!("pass/{label}/{block}"), to, Default::default(), Default::default())
                .await
                .unwrap();
        }
    }

    /// Lets the node know the account of a handle.
    pub(crate) async fn handle(&self, name: &str) {
        let body = json!({ "handles": [{ "name": name, "address": key(name).address() }] });
        self.post("/api/v1/handles", &body).await.done();
    }

    /// A datanet of a new owner `name-owner`, on chain and on the node.
    pub(crate) async fn datanet(&self, name: &str) -> u64 {
        let owner = format!("{name}-owner");
        self.fund(&[&owner]).await;
        let flow = self.flow(&owner).await;
        let created = flow.datanets().create(name, rights().terms_hash().unwrap(), name).await.unwrap();
        let body = json!({ "id": created.value, "name": name, "rights": rights() });
        self.post("/api/v1/datanets", &body).await.done();
        created.value.0
    }

    pub(crate) async fn import(&self, datanet: u64, file: &[u8]) -> Answer {
        let request = self.request("post", &format!("/api/v1/datanets/{datanet}/imports")).bearer_auth(&self.token);
        self.send(request.header("content-type", "application/jsonl").body(file.to_vec())).await
    }

    /// The signatures of an import's batches by their first contributors.
    pub(crate) fn signatures(&self, import: &Value) -> Vec<Value> {
        let batches = import["batches"].as_array().unwrap();
        let sign = |batch: &Value| {
            let digest: B256 = serde_json::from_value(batch["digest"].clone()).unwrap();
            let signer = key(batch["contributors"][0].as_str().unwrap());
            json!({ "contribution": batch["contribution"], "signature": signer.sign(digest) })
        };
        batches.iter().map(sign).collect()
    }

    pub(crate) async fn register(&self, import: &Value, signatures: &[Value]) -> Answer {
        let path = format!("/api/v1/imports/{}/signatures", import["import"].as_str().unwrap());
        self.post(&path, &json!({ "signatures": signatures })).await
    }

    /// Imports, signs and registers records; gives the import and the registered batches.
    pub(crate) async fn contribute(&self, datanet: u64, records: &[Value]) -> (Value, Value) {
        let import = self.import(datanet, &jsonl(records)).await.done();
        let registered = self.register(&import, &self.signatures(&import)).await.done();
        (import, registered["registered"].clone())
    }

    /// Publishes what is registered, signed by the owner.
    pub(crate) async fn publish(&self, datanet: u64, name: &str) -> u64 {
        let next = self.get(&format!("/api/v1/datanets/{datanet}/next-version")).await.done();
        let digest: B256 = serde_json::from_value(next["digest"].clone()).unwrap();
        let signature = key(&format!("{name}-owner")).sign(digest);
        let body = json!({ "signature": signature });
        let published = self.post(&format!("/api/v1/datanets/{datanet}/versions"), &body).await.done();
        published["version"].as_u64().unwrap()
    }

    /// The time of the chain's head.
    pub(crate) async fn head_time(&self) -> u64 {
        self.flow("faucet").await.client().latest().await.unwrap().unwrap().timestamp
    }

    /// Grants the node the use of a version for some seconds of the chain's time.
    pub(crate) async fn grant(&self, datanet: u64, name: &str, version: u64, seconds: u64) -> Answer {
        let grant = Grant {
            datanet: DatanetId(datanet),
            version,
            grantee: key("node").address(),
            purposes: Purposes::of(&[Purpose::Finetune, Purpose::Evaluate, Purpose::Infer]),
            until: self.head_time().await + seconds,
            terms: rights().terms_hash().unwrap(),
        };
        let domain = Domain { chain_id: self.chain_id, contract: self.addresses.datanets };
        let signature = key(&format!("{name}-owner")).sign(domain.digest(grant.struct_hash()));
        let body = json!({ "grant": grant, "signature": signature });
        self.post(&format!("/api/v1/datanets/{datanet}/grants"), &body).await
    }

    /// The shortest time between asking for the rest of a channel and getting it, in seconds.
    pub(crate) fn withdraw_delay(&self) -> u64 {
        match self.place {
            Place::Embedded => 1,
            Place::Anvil(_) => 15 * 60,
        }
    }

    /// How long a proposal may be refuted, in seconds.
    pub(crate) fn window(&self) -> u64 {
        match self.place {
            Place::Embedded => WINDOW_S,
            Place::Anvil(_) => 24 * 3600,
        }
    }

    /// Settles the open epoch; where the network's window outlasts the call, it passes and settling goes on.
    pub(crate) async fn settle(&self) -> Value {
        let first = self.post("/api/v1/epochs", &json!({})).await;
        if matches!(self.place, Place::Embedded) || first.status < 300 {
            return first.done();
        }
        assert_eq!((first.status, first.code()), (409, "window-open"), "{}", first.text);
        self.pass("settle", u32::try_from(self.window()).unwrap()).await;
        self.post("/api/v1/epochs", &json!({})).await.done()
    }

    /// The channel of a payer.
    pub(crate) async fn channel(&self, payer: &str) -> ChannelConfig {
        let (payer, salt) = (key(payer).address(), sha256("channel"));
        let session = self.post("/api/v1/channels/keys", &json!({ "payer": payer, "salt": salt })).await.done();
        let authorizer = serde_json::from_value(session["authorizer"].clone()).unwrap();
        ChannelConfig { payer, authorizer, node: key("node").address(), withdraw_delay: self.withdraw_delay(), salt }
    }

    /// Deposits into a channel as the account of `flow`, without a word to the node.
    pub(crate) async fn deposit_into(flow: &Flow, label: &str, config: &ChannelConfig, amount: Amount) {
        flow.token().wrap(&format!("wrap/{label}"), amount).await.unwrap();
        flow.token().approve(&format!("approve/{label}"), flow.addresses().channels, amount).await.unwrap();
        flow.channels().deposit(&format!("deposit/{label}"), config, amount).await.unwrap();
    }

    /// Deposits into the payer's channel; gives the key that spends it.
    pub(crate) async fn deposit(&self, payer: &str, label: &str, amount: Amount) -> String {
        let config = self.channel(payer).await;
        Self::deposit_into(&self.flow(payer).await, &format!("{payer}/{label}"), &config, amount).await;
        let opened = self.post("/api/v1/channels", &json!({ "config": config })).await.done();
        opened["api_key"].as_str().unwrap().to_owned()
    }

    /// A new payer with 50 OPEN to spend.
    pub(crate) async fn payer(&self, name: &str) -> String {
        self.fund(&[name]).await;
        self.deposit(name, "first", Amount::open(50).unwrap()).await
    }

    /// Asks with what the body adds to model and question.
    pub(crate) async fn ask(&self, api_key: &str, question: &str, more: Value) -> Answer {
        let mut body = json!({
            "model": "thread", "max_tokens": 12, "temperature": 0, "messages": [{ "role": "user", "content": question }],
            "openledger": {},
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.send(self.request("post", "/v1/chat/completions").bearer_auth(api_key).json(&body)).await
    }

    /// Has the model go on with a prompt, with what the body adds.
    pub(crate) async fn go_on(&self, api_key: &str, prompt: Value, more: Value) -> Answer {
        let mut body =
            json!({ "model": "thread", "max_tokens": 8, "temperature": 0, "prompt": prompt, "openledger": {} });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.send(self.request("post", "/v1/completions").bearer_auth(api_key).json(&body)).await
    }

    /// The bundle of an answer's receipt.
    pub(crate) async fn bundle(&self, answer: &Value) -> Value {
        let id = answer["openledger"]["receipt_id"].as_str().unwrap();
        self.get(&format!("/api/v1/receipts/{id}/bundle")).await.done()
    }

    /// What each contribution's line of a bundle pays, and to whom.
    pub(crate) fn payees(bundle: &Value) -> BTreeMap<String, (Address, Amount)> {
        let entries = bundle["entries"].as_array().unwrap();
        let lines = entries.iter().filter(|entry| entry["role"] == "contributor");
        lines
            .map(|entry| {
                let account = serde_json::from_value(entry["account"].clone()).unwrap();
                let amount = serde_json::from_value(entry["amount"].clone()).unwrap();
                (entry["contribution"].as_str().unwrap().to_owned(), (account, amount))
            })
            .collect()
    }
}
