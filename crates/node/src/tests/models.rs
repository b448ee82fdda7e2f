//! Models: an adapter is trained, offered under its title, and found by every node.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use openledger_api::{JobResult, JobState, Number, PageQuery, Recipe, TrainOrder, TrainResult};
use openledger_chain::flow::NewModel;
use openledger_protocol::{Address, B256, ModelId};
use openledger_serving::{Backend, Embedded};
use openledger_store::artifacts::Artifacts;
use openledger_store::{Blobs, BlobsConfig};

use super::training::{World as Training, order};
use super::{amount, code, eventually, instance};
use crate::error::{Blame, NodeError, Result};
use crate::jobs::Worker;
use crate::models::{AFTER_FAULT, Models, Parts};
use crate::on_chain::ModelsOnChain;
use crate::owned_task::OwnedTask;
use crate::pipeline::{self, TrainAdapter};

pub(super) const MODEL: ModelId = ModelId(1);

/// The contract of models: every title is of one model.
#[derive(Default)]
struct Contract(Mutex<Option<NewModel>>);

impl ModelsOnChain for Contract {
    fn catch_up(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn titles(&self) -> Address {
        Address::repeat_byte(0x30)
    }

    fn indexed_block(&self) -> u64 {
        0
    }

    fn registered(&self, model: ModelId) -> BoxFuture<'_, Result<NewModel>> {
        let registered = self.0.lock().unwrap().clone().ok_or_else(|| NodeError::missing("title", model));
        Box::pin(async move { registered })
    }
}

/// An adapter that was trained, and the models of a node that may offer it.
pub(super) struct World {
    pub(super) training: Training,
    contract: Arc<Contract>,
    pub(super) models: Models,
    pub(super) backend: Arc<dyn Backend>,
    /// The job that trained the adapter, and its result.
    pub(super) job: u64,
    trained: TrainResult,
}

impl World {
    /// An adapter that was trained for one step, whose title is registered.
    pub(super) async fn new() -> Self {
        let (training, contract) = (Training::granted().await, Arc::new(Contract::default()));
        let number = |text: &str| Some(Number::Text(text.to_owned()));
        let recipe = Recipe {
            rank: number("1"),
            max_steps: number("1"),
            batch: number("1"),
            seq: number("32"),
            holdout: number("0"),
            ..Recipe::default()
        };
        let job = pipeline::train(&training.training, &TrainOrder { recipe, ..order() }).await.unwrap();
        let (store, clock) = (training.store(), training.time().clock());
        let kinds = vec![Arc::new(TrainAdapter(training.training.clone())) as _];
        let worker = OwnedTask::spawn(Worker::new(store, clock, instance("trainer"), kinds).work());
        let ended = async || training.jobs.get(job).await.unwrap().state.is_final();
        eventually("the adapter is trained", ended).await;
        drop(worker);
        let done = training.jobs.get(job).await.unwrap();
        assert_eq!(done.state, JobState::Done, "{:?}", done.cause);
        let Some(JobResult::Train(trained)) = done.result else { panic!("{done:?}") };
        *contract.0.lock().unwrap() = Some(title(&trained));
        let (models, backend) = models(&training, &contract, "one");
        Self { training, contract, models, backend, job, trained }
    }
}

/// The models as a node has them that keeps its cache in a folder of this name.
fn models(training: &Training, contract: &Arc<Contract>, folder: &str) -> (Models, Arc<dyn Backend>) {
    let blobs = training.store().blobs().clone();
    models_over(training, contract, artifacts(training, blobs, folder))
}

/// The artifacts of a blob store, cached in a folder of this name.
fn artifacts(training: &Training, blobs: Blobs, folder: &str) -> Artifacts {
    Artifacts::open(blobs, &training.folder.path().join(folder), 1 << 30).unwrap()
}

/// The models as a node has them that keeps these artifacts.
fn models_over(training: &Training, contract: &Arc<Contract>, artifacts: Artifacts) -> (Models, Arc<dyn Backend>) {
    let (store, base) = (training.store(), Arc::clone(&training.base));
    let (model, tokenizer) = (Arc::clone(base.model()), Arc::clone(base.tokenizer()));
    let backend: Arc<dyn Backend> =
        Arc::new(Embedded::new(model, tokenizer, base.form().clone(), base.name(), 1 << 24));
    let models = Models::new(Parts {
        artifacts,
        store,
        chain: Arc::clone(contract) as _,
        jobs: training.jobs.clone(),
        base,
        backend: Arc::clone(&backend),
        clock: training.time().clock(),
    });
    (models, backend)
}

/// A title of a trained adapter.
fn title(trained: &TrainResult) -> NewModel {
    NewModel {
        weights: trained.adapter.0,
        manifest: trained.manifest_hash,
        price_in: amount(1),
        price_out: amount(2),
        price_flat: amount(3),
        parent: None,
        platform_bps: 1500,
        model_bps: 1500,
        stakers_bps: 0,
        parent_bps: 0,
        stake_vault: Address::ZERO,
    }
}

#[tokio::test]
async fn a_trained_adapter_is_offered_under_its_title_and_found_by_name_on_every_node() {
    let world = World::new().await;
    assert_eq!(code(world.models.named("tides").await), "not-found");
    let offered = pipeline::offer(&world.models, MODEL, "tides", world.job).await.unwrap();
    assert_eq!((offered.adapter, offered.manifest), (world.trained.adapter, world.trained.manifest_hash));
    assert_eq!(pipeline::offer(&world.models, MODEL, "tides", world.job).await.unwrap(), offered);
    let model = world.models.named("tides").await.unwrap();
    assert_eq!((model.id(), model.records().len()), (MODEL, 2));

    let (other, _) = models(&world.training, &world.contract, "two");
    assert_eq!(other.views().await.len(), 0);
    assert_eq!(other.load_all().await.unwrap(), 0, "no model was left out");
    let page = other.page(&PageQuery::default()).await.unwrap();
    assert_eq!(page, world.models.page(&PageQuery::default()).await.unwrap());
    assert_eq!((page.items.len(), page.items[0].prices.royalty_flat), (1, amount(3)));
}

#[tokio::test]
async fn a_model_is_not_offered_untrained_under_a_title_of_other_weights_or_a_name_that_is_taken() {
    let world = World::new().await;
    let queued = pipeline::train(&world.training.training, &order()).await.unwrap();
    assert_eq!(code(pipeline::offer(&world.models, MODEL, "tides", queued).await), "not-trained");
    assert_eq!(code(pipeline::offer(&world.models, MODEL, " ", world.job).await), "bad-name");
    let others = NewModel { weights: B256::repeat_byte(1), ..title(&world.trained) };
    *world.contract.0.lock().unwrap() = Some(others);
    assert_eq!(code(pipeline::offer(&world.models, MODEL, "tides", world.job).await), "other-weights");
    assert_eq!(code(world.models.by_id(MODEL).await), "not-found");

    *world.contract.0.lock().unwrap() = Some(title(&world.trained));
    pipeline::offer(&world.models, MODEL, "tides", world.job).await.unwrap();
    for (id, name) in [(ModelId(2), "tides"), (MODEL, "ebbs")] {
        assert_eq!(code(pipeline::offer(&world.models, id, name, world.job).await), "name-taken", "{id} {name}");
    }
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_is_tried_again_after_a_pause_and_not_at_every_request() {
    let world = World::new().await;
    pipeline::offer(&world.models, MODEL, "tides", world.job).await.unwrap();
    let blobs = Blobs::open(&BlobsConfig::new("memory:")).unwrap();
    let restored = artifacts(&world.training, blobs.clone(), "restored");
    let lacking = artifacts(&world.training, blobs, "lacking");
    let (other, _) = models_over(&world.training, &world.contract, lacking);
    let fault = other.named("tides").await.err().unwrap();
    assert_eq!(fault.blame(), Blame::Operator, "{fault}");
    assert!(other.by_id(MODEL).await.err().unwrap().to_string().contains("is loaded again after"));

    // Its folder is there again, and is read only after the pause.
    let row = world.training.store().model(MODEL).await.unwrap().unwrap();
    let own = artifacts(&world.training, world.training.store().blobs().clone(), "own");
    let folder = own.fetch_folder(row.artifact.unwrap()).await.unwrap();
    assert_eq!(Some(restored.put_folder(folder.path()).await.unwrap()), row.artifact);
    let pause = AFTER_FAULT.as_millis() as u64;
    world.training.time().pass(pause - 1);
    for refused in [other.named("tides").await.err().unwrap(), other.by_id(MODEL).await.err().unwrap()] {
        assert_eq!((refused.blame(), refused.code()), (fault.blame(), fault.code()), "{refused}");
    }
    world.training.time().pass(1);
    assert_eq!(other.named("tides").await.unwrap().id(), MODEL);
}

#[tokio::test]
async fn of_models_that_receipts_name_only_those_that_do_not_exist_are_left_out() {
    let world = World::new().await;
    pipeline::offer(&world.models, MODEL, "tides", world.job).await.unwrap();
    let named = || BTreeSet::from([MODEL, ModelId(9)]);
    let found = world.models.on_offer(named()).await.unwrap();
    assert_eq!(found.into_keys().collect::<Vec<_>>(), [MODEL]);
    let lacking = artifacts(&world.training, Blobs::open(&BlobsConfig::new("memory:")).unwrap(), "lacking");
    let (other, _) = models_over(&world.training, &world.contract, lacking);
    assert_eq!(code(other.on_offer(named()).await), "internal");
}
