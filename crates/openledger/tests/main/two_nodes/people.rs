//! Everybody but the operator: an owner, contributors, a builder, payers. Each signs for itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openledger_api::client::{Client as Node, ClientError};
use openledger_api::openai::{ChatCompletionRequest, ChatResponse, Extension};
use openledger_api::{
    BatchSignature, ContractAddresses, DatanetVersionRef, Handle, ImportSignatures, Job, JobOrder, JobResult, JobState,
    ModelOffer, Network, NewChannel, NewDatanet, NewHandles, Number, Recipe, SessionKeyRequest, SignedGrant,
    SignedVersion, TrainOrder, TrainResult,
};
use openledger_chain::contracts::Addresses;
use openledger_chain::flow::{Flow, NewModel};
use openledger_chain::sender::{FeePolicy, MemoryOutbox, Sender};
use openledger_protocol::{Address, Amount, ChannelConfig, Domain, Grant, Mix, Purpose, Purposes, Rights, sha256};

use super::servers::{Shared, key};
use crate::program::samples;

/// How long a training may take on a busy machine.
const TRAINED_MAX: Duration = Duration::from_secs(300);
/// A year, in seconds.
const YEAR: u64 = 365 * 24 * 3600;
/// The shortest withdrawal delay that the contracts take on a public network, in seconds.
const WITHDRAW_DELAY: u64 = 15 * 60;
/// The contributors that the first records of the sample name.
pub(crate) const CONTRIBUTORS: [&str; 3] = ["chain-whip", "brake-bleed", "spoke-and-nipple"];

/// A payer's channel.
pub(crate) struct Paying {
    /// The bearer token that spends its deposit.
    pub(crate) api_key: String,
}

/// The people, on the network that the nodes serve.
pub(crate) struct People<'a> {
    shared: &'a Shared,
    pub(crate) network: Network,
    outbox: Arc<MemoryOutbox>,
}

fn rights() -> Rights {
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

impl<'a> People<'a> {
    pub(crate) fn new(shared: &'a Shared, network: Network) -> Self {
        Self { shared, network, outbox: Arc::default() }
    }

    /// The chain as the account of `name` drives it.
    pub(crate) async fn flow(&self, name: &str) -> Flow {
        let sender = Sender::new(self.shared.chain(), self.outbox.clone(), key(name), FeePolicy::default());
        Flow::new(Arc::new(sender.await.unwrap()), self.addresses())
    }

    fn addresses(&self) -> Addresses {
        let ContractAddresses { wopen, datanets, contributions, models, channels, payouts, verifier, params } =
            self.network.addresses;
        Addresses { wopen, datanets, contributions, models, channels, payouts, verifier, params }
    }

    fn domain(&self, contract: Address) -> Domain {
        Domain { chain_id: self.network.chain_id, contract }
    }

    /// A datanet of 40 records, published and granted. `one` and `other` take turns: what one node
    /// was told, the other goes on with.
    pub(crate) async fn datanet(&self, one: &Node, other: &Node) -> DatanetVersionRef {
        self.shared.give(key("owner").address(), 100).await;
        let owner = self.flow("owner").await;
        let terms = rights().terms_hash().unwrap();
        let id = owner.datanets().create("datanet", terms, "bicycles").await.unwrap().value;
        let datanet = NewDatanet { id, name: "bicycles".into(), description: String::new(), rights: rights() };
        one.add_datanet(&datanet, "datanet").await.unwrap();

        let text = std::fs::read_to_string(samples().join("bicycle-repair.jsonl")).unwrap();
        let lines: Vec<&str> = text.lines().take(40).collect();
        let file = lines.join("\n") + "\n";
        let handle = |name: &str| Handle { name: name.to_owned(), address: key(name).address() };
        let handles = CONTRIBUTORS.map(handle).to_vec();
        other.note_handles(&NewHandles { handles }, "handles").await.unwrap();
        let import = one.import_records(id, file.into_bytes(), "import").await.unwrap();
        let sign = |digest, registrant: Address| {
            CONTRIBUTORS.map(key).into_iter().find(|key| key.address() == registrant).unwrap().sign(digest)
        };
        let signatures = import.batches.iter().map(|batch| BatchSignature {
            contribution: batch.contribution,
            signature: sign(batch.digest, batch.registrant),
        });
        let signatures = ImportSignatures { signatures: signatures.collect() };
        let registered = other.sign_import(import.import, &signatures, "register").await.unwrap().registered;
        assert_eq!(registered.len(), import.batches.len());

        let digest = one.next_version(id).await.unwrap().digest;
        let signed = SignedVersion { signature: key("owner").sign(digest) };
        let version = other.publish_version(id, &signed, "publish").await.unwrap().version;
        let now = self.shared.chain().latest().await.unwrap().unwrap().timestamp;
        let grant = Grant {
            datanet: id,
            version,
            grantee: self.network.node,
            purposes: Purposes::of(&[Purpose::Finetune, Purpose::Evaluate, Purpose::Infer]),
            until: now + YEAR,
            terms,
        };
        let signature = key("owner").sign(self.domain(self.network.addresses.datanets).digest(grant.struct_hash()));
        one.publish_grant(&SignedGrant { grant, signature }, "grant").await.unwrap();
        DatanetVersionRef { datanet: id, version }
    }

    /// The builder registers a trained adapter as `name`, and a node offers it.
    pub(crate) async fn offer(&self, node: &Node, name: &str, job: u64, trained: &TrainResult) {
        self.shared.give(key("builder").address(), 100).await;
        let model = NewModel {
            weights: trained.adapter.0,
            manifest: trained.manifest_hash,
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
        let builder = self.flow("builder").await;
        let id = builder.models().register(&format!("model/{name}"), &model, name).await.unwrap().value;
        node.offer_model(&ModelOffer { id, name: name.to_owned(), job }, &format!("offer/{name}")).await.unwrap();
    }

    /// A new payer with a deposit. The channel is opened at `node`.
    pub(crate) async fn payer(&self, node: &Node, name: &str, deposit: Amount) -> Paying {
        let payer = key(name).address();
        self.shared.give(payer, 1_000).await;
        let salt = sha256("channel");
        let request = SessionKeyRequest { payer, salt };
        let authorizer = node.session_key(&request, &format!("session/{name}")).await.unwrap().authorizer;
        let config = ChannelConfig { payer, authorizer, node: self.network.node, withdraw_delay: WITHDRAW_DELAY, salt };
        let flow = self.flow(name).await;
        let of = |what: &str| format!("{what}/{name}");
        flow.token().wrap(&of("wrap"), deposit).await.unwrap();
        flow.token().approve(&of("approve"), self.network.addresses.channels, deposit).await.unwrap();
        flow.channels().deposit(&of("deposit"), &config, deposit).await.unwrap();
        let opened = node.open_channel(&NewChannel { config }).await.unwrap();
        Paying { api_key: opened.api_key }
    }
}

/// An order of `steps` training steps.
pub(crate) fn order(name: &str, datanet: DatanetVersionRef, steps: u64) -> JobOrder {
    let number = |value: u64| Some(Number::Number(value.into()));
    let recipe = Recipe {
        rank: number(2),
        max_steps: number(steps),
        batch: number(8),
        seq: number(96),
        warmup_steps: number(1),
        holdout: number(0),
        ..Recipe::default()
    };
    let mix = Mix { spans_bps: 5_000, influence_bps: 5_000, retrieval_bps: 0 };
    JobOrder::Train(TrainOrder { name: name.to_owned(), datanets: vec![datanet], recipe, mix })
}

/// Looks at a job until it is as wanted.
pub(crate) async fn wait_for(node: &Node, job: u64, wanted: impl Fn(&Job) -> bool) -> Job {
    let since = Instant::now();
    loop {
        let now = node.job(job).await.unwrap();
        if wanted(&now) {
            return now;
        }
        assert!(now.state != JobState::Failed && since.elapsed() < TRAINED_MAX, "{now:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The result of a job, once it is done.
pub(crate) async fn trained(node: &Node, job: u64) -> (Job, TrainResult) {
    let done = wait_for(node, job, |job| job.state == JobState::Done).await;
    let Some(JobResult::Train(result)) = done.result else { panic!("{done:?}") };
    (done, result)
}

/// Asks a model on a channel; the same `key` is the same request.
pub(crate) async fn ask(
    node: &Node,
    payer: &Paying,
    model: &str,
    (question, max_tokens): (&str, u32),
    key: &str,
) -> Result<ChatResponse, ClientError> {
    let request = ChatCompletionRequest {
        max_tokens: Some(max_tokens),
        temperature: Some(0.0),
        openledger: Some(Extension { idempotency_key: Some(key.to_owned()), ..Extension::default() }),
        ..ChatCompletionRequest::question(model, question)
    };
    node.clone().with_token(&payer.api_key).chat(&request, key).await
}
