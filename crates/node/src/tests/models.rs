//! Models: an adapter is trained, offered under its title, and found by every node.

use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use openledger_api::{JobResult, JobState, Number, PageQuery, Recipe, TrainOrder, TrainResult};
use openledger_chain::flow::NewModel;
use openledger_protocol::{Address, B256, ModelId};
use openledger_serving::{Backend, Embedded};
use openledger_store::artifacts::Artifacts;

use super::training::{World as Training, order};
use super::{amount, code, eventually, instance};
use crate::error::{NodeError, Result};
use crate::jobs::Worker;
use crate::models::{Models, Parts};
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
        Box::pin(async { registered })
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
    let (store, base) = (training.store(), Arc::clone(&training.base));
    let (model, tokenizer) = (Arc::clone(base.model()), Arc::clone(base.tokenizer()));
    let backend: Arc<dyn Backend> =
        Arc::new(Embedded::new(model, tokenizer, base.form().clone(), base.name(), 1 << 24));
    let models = Models::new(Parts {
        artifacts: Artifacts::open(store.blobs().clone(), &training.folder.path().join(folder), 1 << 30).unwrap(),
        store,
        chain: Arc::clone(contract) as _,
        jobs: training.jobs.clone(),
        base,
        backend: Arc::clone(&backend),
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
