//! A node with a model of two sample datanets, whose contributions have a dozen holders.

use std::collections::BTreeSet;

use openledger_protocol::Address;
use serde_json::{Value, json};

use super::history::Size;
use super::seeds::{Holding, Seeds};
use crate::node::story::{offer, train};
use crate::node::world::{World, YEAR, key, sample};

/// Records of each datanet.
const RECORDS: usize = 80;
/// Questions that the model is asked.
const QUESTIONS: usize = 16;
/// Titles that change hands before each epoch.
const SOLD: usize = 3;

/// Trains the model and has it answer; gives what a history of `size` is seeded from.
pub(crate) async fn open(world: &World, size: Size) -> Seeds {
    world.fund(&["builder"]).await;
    let (mut datanets, mut questions, mut holdings) = (Vec::new(), Vec::new(), Vec::new());
    for (name, file) in [("bicycles", "bicycle-repair"), ("sky", "night-sky")] {
        let records = sample(file, RECORDS);
        let names = records.iter().map(|record| record["contributor"].as_str().unwrap().to_owned());
        let names: BTreeSet<String> = names.collect();
        for name in &names {
            world.handle(name).await;
        }
        let datanet = world.datanet(name).await;
        let (_, registered) = world.contribute(datanet, &records).await;
        holdings.extend(held(&registered, &names).into_iter().take(SOLD.div_ceil(2)));
        let version = world.publish(datanet, name).await;
        world.grant(datanet, name, version, YEAR).await.done();
        datanets.push(json!({ "datanet": datanet, "version": version }));
        questions.extend(records.iter().filter_map(|record| Some(record["prompt"].as_str()?.to_owned())));
    }
    let job = train(world, &datanets).await;
    offer(world, &job).await;
    holdings.truncate(SOLD);
    let payer = world.payer("payer").await;
    let every = questions.len().div_ceil(QUESTIONS);
    let questions: Vec<&str> = questions.iter().step_by(every).map(String::as_str).collect();
    Seeds::of(world, &payer, &questions, holdings, size.all()).await
}

/// The titles that one of `names` holds.
fn held(registered: &Value, names: &BTreeSet<String>) -> Vec<Holding> {
    let of = |batch: &Value| {
        let holder: Address = serde_json::from_value(batch["holder"].clone()).unwrap();
        let name = names.iter().find(|name| key(name).address() == holder)?;
        let title = serde_json::from_value(batch["contribution"].clone()).unwrap();
        Some(Holding { title, holder: name.clone() })
    };
    registered.as_array().unwrap().iter().filter_map(of).collect()
}
