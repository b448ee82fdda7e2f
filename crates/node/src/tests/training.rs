//! Training up to the first step: orders are checked, rows are read under live grants only.

use std::path::Path;
use std::sync::Arc;

use openledger_api::{DatanetVersionRef, JobState, Number, Recipe, TrainOrder};
use openledger_datanet::REQUIRED_PURPOSES;
use openledger_protocol::{Mix, Params, Purpose};
use openledger_store::Store;
use openledger_store::artifacts::Artifacts;

use super::datanets::DATANET;
use super::grants::World as Grants;
use super::{ManualTime, code};
use crate::base::Base;
use crate::governed::Governed;
use crate::jobs::Jobs;
use crate::pipeline;
use crate::records::Records;
use crate::training::{Parts, Training};

const MIX: Mix = Mix { spans_bps: 5000, influence_bps: 5000, retrieval_bps: 0 };

/// Training over a datanet with one published version of two contributions.
pub(super) struct World {
    grants: Grants,
    governed: Governed,
    pub(super) base: Arc<Base>,
    pub(super) jobs: Jobs,
    pub(super) training: Training,
    pub(super) folder: tempfile::TempDir,
}

impl World {
    /// Without a grant.
    async fn new() -> Self {
        let grants = Grants::new().await;
        let datanets = &grants.datanets;
        for number in [1, 2] {
            datanets.contribution(number).await;
        }
        let signature = datanets.signed().await;
        pipeline::publish(&datanets.datanets, DATANET, &signature).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/base");
        let base = Arc::new(Base::load(&base, "base").unwrap());
        let store = datanets.store.clone();
        let jobs = Jobs::new(store.clone(), datanets.contract.time.clock());
        let governed = Governed::new(Params::GENESIS);
        let training = Training::new(Parts {
            artifacts: Artifacts::open(store.blobs().clone(), &folder.path().join("artifacts"), 1 << 30).unwrap(),
            datanets: datanets.datanets.clone(),
            grants: grants.grants.clone(),
            records: Records::new(store.clone()),
            jobs: jobs.clone(),
            base: Arc::clone(&base),
            governed: governed.clone(),
            chain_id: 7,
            folder: folder.path().join("jobs"),
            store,
        });
        Self { grants, governed, base, jobs, training, folder }
    }

    /// With a live grant to this node.
    pub(super) async fn granted() -> Self {
        let world = Self::new().await;
        world.grants.publish(&world.grants.grant()).await;
        world
    }

    pub(super) fn store(&self) -> Store {
        self.grants.datanets.store.clone()
    }

    pub(super) fn time(&self) -> &ManualTime {
        &self.grants.datanets.contract.time
    }
}

/// An order for an adapter of the version.
pub(super) fn order() -> TrainOrder {
    TrainOrder {
        name: "tides".into(),
        datanets: vec![DatanetVersionRef { datanet: DATANET, version: 1 }],
        recipe: Recipe::default(),
        mix: MIX,
    }
}

#[tokio::test]
async fn an_order_that_cannot_be_done_is_refused_before_it_is_queued() {
    let world = World::granted().await;
    let version = |version| vec![DatanetVersionRef { datanet: DATANET, version }];
    let rank = Recipe { rank: Some(Number::Text("0".into())), ..Recipe::default() };
    for (refusal, order) in [
        ("bad-recipe", TrainOrder { recipe: rank, ..order() }),
        ("bad-name", TrainOrder { name: " ".into(), ..order() }),
        ("no-data", TrainOrder { datanets: Vec::new(), ..order() }),
        ("no-data", TrainOrder { datanets: version(1).repeat(65), ..order() }),
        ("bad-mix", TrainOrder { mix: Mix { spans_bps: 9999, influence_bps: 1, retrieval_bps: 0 }, ..order() }),
        (
            "no-retrieval",
            TrainOrder { mix: Mix { spans_bps: 4000, influence_bps: 4000, retrieval_bps: 2000 }, ..order() },
        ),
        ("not-found", TrainOrder { datanets: version(2), ..order() }),
    ] {
        assert_eq!(code(pipeline::train(&world.training, &order).await), refusal, "{order:?}");
    }
    assert_eq!(code(world.jobs.get(1).await), "not-found");
}

#[tokio::test]
async fn an_order_without_a_live_grant_is_refused() {
    let world = World::new().await;
    assert_eq!(code(pipeline::train(&world.training, &order()).await), "no-grant");
}

#[tokio::test]
async fn an_order_is_one_job_however_often_it_is_given() {
    let world = World::granted().await;
    let job = pipeline::train(&world.training, &order()).await.unwrap();
    assert_eq!(pipeline::train(&world.training, &order()).await.unwrap(), job);
    let other = TrainOrder { name: "other tides".into(), ..order() };
    assert_ne!(pipeline::train(&world.training, &other).await.unwrap(), job);
    assert_eq!(world.jobs.get(job).await.unwrap().state, JobState::Queued);
}

#[tokio::test]
async fn the_mixes_of_an_order_are_those_that_are_governed_now() {
    let world = World::granted().await;
    world.training.check(&order()).await.unwrap();
    let mut params = Params::GENESIS;
    params.mixes[0] = Mix { spans_bps: 6000, influence_bps: 4000, retrieval_bps: 0 };
    world.governed.set(params);
    assert_eq!(code(world.training.check(&order()).await), "bad-mix");
}

#[tokio::test]
async fn rows_are_read_while_their_grant_is_live_and_not_after_it_was_revoked() {
    let world = World::granted().await;
    assert_eq!(world.training.material(&order()).await.unwrap().len(), 2);
    assert!(REQUIRED_PURPOSES.contains(&Purpose::Finetune));
    world.grants.allow(&[Purpose::Finetune], 0);
    assert_eq!(code(world.training.material(&order()).await), "no-grant");
}
