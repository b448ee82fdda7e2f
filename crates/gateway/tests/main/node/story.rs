//! The whole thread once on each database, from files to claims, over a restart; what was seen on
//! the way is kept for the facts.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use openledger_chain::flow::NewModel;
use openledger_factory::Recipe;
use openledger_protocol::{Address, Amount, ContributionId, ModelId};
use openledger_store::jobs::NewJob;
use openledger_store::transact_locked;
use serde_json::{Value, json};

use super::calls::Title;
use super::database::Database;
use super::world::{Answer, Place, RUNTIME, World, YEAR, key, sample};

/// How long the small training may take on a busy machine.
const TRAINED_MAX: Duration = Duration::from_secs(240);
pub(crate) const QUESTION: &str = "What pitch does a bicycle chain have?";

/// What was seen.
pub(crate) struct Story {
    pub(crate) world: World,
    /// The contribution that two handles made together, and its splitter.
    pub(crate) pair: (String, Address),
    /// The contribution that was sold.
    pub(crate) sold: String,
    pub(crate) job: Value,
    pub(crate) before_sale: Value,
    pub(crate) after_sale: Value,
    pub(crate) settled: Value,
    pub(crate) settled_again: Answer,
    pub(crate) claims: Value,
    pub(crate) claims_again: Value,
    /// WOPEN of the pair's first and second account, before and after their splitter paid.
    pub(crate) halves: [(Amount, Amount); 2],
    /// WOPEN that the splitter held.
    pub(crate) in_splitter: Amount,
    pub(crate) audit: Value,
    pub(crate) payouts: Value,
    pub(crate) first_answer: Value,
    pub(crate) replayed: Answer,
    pub(crate) models: [Value; 2],
    /// A job that the node held when it ended.
    pub(crate) left_job: u64,
    /// The node's folder as it was then, for a second life of the same network.
    pub(crate) copy: PathBuf,
    /// The same once more, of which further copies are made, and the database that belongs to it.
    pub(crate) kept: PathBuf,
    pub(crate) kept_database: Database,
    /// The API key of who asked.
    pub(crate) payer: String,
}

static STORY: LazyLock<Story> = LazyLock::new(|| told_on(Database::Sqlite));
static ON_POSTGRES: LazyLock<Option<Story>> = LazyLock::new(|| Database::postgres().map(told_on));

fn told_on(database: Database) -> Story {
    let told = move || {
        RUNTIME.block_on(async {
            let world = World::open_on(Place::Embedded, database, folder(), Arc::default()).await;
            reopened(story(world).await).await
        })
    };
    // A thread that already drives the runtime, as that of a fact may, cannot drive it again.
    std::thread::spawn(told).join().unwrap()
}

impl Story {
    /// A copy of the folder that was kept, for a further life of the network.
    pub(crate) fn copied(&self) -> PathBuf {
        let data = folder();
        copy_all(&self.kept, &data);
        data
    }
}

impl World {
    /// Another life of the story's network on SQLite.
    pub(crate) async fn another_life() -> Self {
        Self::open(fixture().copied(), Arc::default()).await
    }
}

/// The story on SQLite, run on first use.
pub(crate) fn fixture() -> &'static Story {
    &STORY
}

/// The story on Postgres, run on first use; `None`, told aloud, where Postgres is not installed.
pub(crate) fn on_postgres() -> Option<&'static Story> {
    ON_POSTGRES.as_ref()
}

/// Writes the two tests of facts about the story: on SQLite and on Postgres.
macro_rules! on_both_databases {
    ($($fact:ident),* $(,)?) => {
        mod sqlite {
            $(#[test] fn $fact() { super::$fact(crate::node::story::fixture()); })*
        }
        mod postgres {
            $(#[test] fn $fact() {
                if let Some(story) = crate::node::story::on_postgres() {
                    super::$fact(story);
                }
            })*
        }
    };
}
pub(crate) use on_both_databases;

/// Runs a fact's calls.
pub(crate) fn on<T>(calls: impl Future<Output = T>) -> T {
    RUNTIME.block_on(calls)
}

/// A folder for a node that runs until the program ends; those of programs of more than an hour ago
/// are removed.
pub(crate) fn folder() -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gateway_main");
    std::fs::create_dir_all(&all).unwrap();
    for old in std::fs::read_dir(&all).unwrap().flatten() {
        let made = old.metadata().and_then(|folder| folder.modified()).unwrap();
        if made.elapsed().is_ok_and(|age| age > Duration::from_secs(3_600)) {
            std::fs::remove_dir_all(old.path()).ok();
        }
    }
    tempfile::tempdir_in(all).unwrap().keep()
}

/// The thread from files to claims on a fresh node.
pub(crate) async fn story(world: World) -> Story {
    let mut together = sample("bicycle-repair", 14);
    for record in &mut together {
        record["contributors"] = json!(["chain-whip", "river-gauge"]);
        record.as_object_mut().unwrap().remove("contributor");
    }
    for name in ["chain-whip", "river-gauge", "dark-adapted", "buyer"] {
        world.handle(name).await;
    }
    world.fund(&["dark-adapted", "builder"]).await;
    let (bicycles, sky) = (world.datanet("bicycles").await, world.datanet("sky").await);
    let (_, pair) = world.contribute(bicycles, &together).await;
    let (_, alone) = world.contribute(sky, &sample("night-sky", 12)).await;
    let mut datanets = Vec::new();
    for (datanet, name) in [(bicycles, "bicycles"), (sky, "sky")] {
        let version = world.publish(datanet, name).await;
        world.grant(datanet, name, version, YEAR).await.done();
        datanets.push(json!({ "datanet": datanet, "version": version }));
    }
    let job = train(&world, &datanets).await;
    offer(&world, &job).await;

    let payer = world.payer("payer").await;
    let first_answer =
        world.ask(&payer, QUESTION, json!({ "openledger": { "idempotency_key": "first" } })).await.done();
    let before_sale = world.bundle(&first_answer).await;
    let sold = alone[0]["contribution"].as_str().unwrap().to_owned();
    let title: ContributionId = serde_json::from_value(alone[0]["contribution"].clone()).unwrap();
    let seller = world.flow("dark-adapted").await;
    Title::Contribution(title).transfer(&seller, "sale", key("buyer").address()).await.unwrap();
    let after_sale = world.bundle(&world.ask(&payer, QUESTION, json!({})).await.done()).await;

    let settled = world.settle().await;
    let settled_again = world.post("/api/v1/epochs", &json!({})).await;
    let claims = world.post("/api/v1/claims", &json!({})).await.done();
    let claims_again = world.post("/api/v1/claims", &json!({})).await.done();
    let payouts = world.get("/api/v1/epochs/1/payouts").await.done();
    let splitter: Address = serde_json::from_value(pair[0]["holder"].clone()).unwrap();
    let (in_splitter, halves) = release(&world, splitter).await;
    let audit = world.get("/api/v1/audit").await.done();

    let models = world.get("/api/v1/models").await.done();
    let replayed = world.ask(&payer, QUESTION, json!({ "openledger": { "idempotency_key": "first" } })).await;
    Story {
        pair: (pair[0]["contribution"].as_str().unwrap().to_owned(), splitter),
        world,
        sold,
        job,
        before_sale,
        after_sale,
        settled,
        settled_again,
        claims,
        claims_again,
        halves,
        in_splitter,
        audit,
        payouts,
        first_answer,
        replayed,
        models: [models.clone(), models],
        left_job: 0,
        copy: PathBuf::new(),
        kept: PathBuf::new(),
        kept_database: Database::Sqlite,
        payer,
    }
}

/// The same, after the node was stopped, copied, left with a job and opened again.
async fn reopened(story: Story) -> Story {
    let (mut left_job, copy, kept) = (0, folder(), folder());
    let (database, mut kept_database) = (story.world.database.clone(), Database::Sqlite);
    let world = story
        .world
        .reopened(async |data| {
            copy_all(data, &copy);
            copy_all(data, &kept);
            kept_database = database.copied();
            left_job = leave_a_job(&database, data).await;
        })
        .await;
    let again = world.get("/api/v1/models").await.done();
    let [models, _] = story.models;
    let replayed = world.ask(&story.payer, QUESTION, json!({ "openledger": { "idempotency_key": "first" } })).await;
    Story { world, models: [models, again], replayed, left_job, copy, kept, kept_database, ..story }
}

/// Copies a folder with all that is in it.
pub(crate) fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A job as a node leaves it that is killed at work: running, held for another hour. Its order is damaged.
async fn leave_a_job(database: &Database, data: &Path) -> u64 {
    let store = database.store(data).await;
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let job = NewJob {
        kind: "train".into(),
        key: None,
        order: "damaged".into(),
        not_before: 0,
        max_attempts: 9,
        created: now,
    };
    let (id, _) = transact_locked!(store, |tx| tx.enqueue(&job).await).unwrap();
    let worker = std::fs::read_to_string(data.join("instance")).unwrap();
    let held = store.claim(&worker, &["train"], now, 3_600_000).await.unwrap();
    assert_eq!(held.unwrap().id, id);
    store.close().await;
    id
}

/// A small adapter; gives the job's last card.
pub(crate) async fn train(world: &World, datanets: &[Value]) -> Value {
    let recipe =
        Recipe { rank: 2, max_steps: 6, batch: 8, seq: 96, warmup_steps: 1, holdout: 0.0, ..Recipe::default() };
    let mix = json!({ "spans_bps": 5_000, "influence_bps": 5_000, "retrieval_bps": 0 });
    let order = json!({ "kind": "train", "name": "thread", "datanets": datanets, "recipe": recipe, "mix": mix });
    let job = world.post("/api/v1/jobs", &order).await.done()["job"].clone();
    assert_eq!(world.post("/api/v1/jobs", &order).await.done()["job"], job, "the same order is the same job");
    let deadline = Instant::now() + TRAINED_MAX;
    loop {
        let card = world.get(&format!("/api/v1/jobs/{job}")).await.done();
        match card["state"].as_str() {
            Some("done") => return card,
            Some("failed") => panic!("{card}"),
            _ => assert!(Instant::now() < deadline, "{card}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn offer(world: &World, job: &Value) {
    let of = |name: &str| serde_json::from_value(job["result"][name].clone()).unwrap();
    let model = NewModel {
        weights: of("adapter"),
        manifest: of("manifest_hash"),
        price_in: Amount::open(1).unwrap(),
        price_out: Amount::open(2).unwrap(),
        price_flat: Amount(12_345_678_901),
        parent: None,
        platform_bps: 1_000,
        model_bps: 2_000,
        stakers_bps: 2_000,
        parent_bps: 0,
        stake_vault: Address::ZERO,
    };
    let title: ModelId = world.flow("builder").await.models().register("model", &model, "thread").await.unwrap().value;
    let body = json!({ "id": title, "name": "thread", "job": job["job"] });
    world.post("/api/v1/models", &body).await.done();
}

/// Has the splitter pay out: what it held, and the first and second account's WOPEN before and after.
async fn release(world: &World, splitter: Address) -> (Amount, [(Amount, Amount); 2]) {
    let flow = world.flow("builder").await;
    let pair = ["chain-whip", "river-gauge"].map(|name| key(name).address());
    let held = flow.token().balance(splitter).await.unwrap();
    let mut before = Vec::new();
    for account in pair {
        before.push(flow.token().balance(account).await.unwrap());
    }
    let mut call = alloy_primitives::keccak256("release(address)")[..4].to_vec();
    call.extend(world.addresses.wopen.into_word());
    flow.sender().send("release", splitter, call.into(), Default::default()).await.unwrap();
    let first = (before[0], flow.token().balance(pair[0]).await.unwrap());
    let second = (before[1], flow.token().balance(pair[1]).await.unwrap());
    (held, [first, second])
}
