//! The fourth part of the walk: does attribution find the record that says what is said?
//!
//! Seeded training records are put to it: the record's own answer, under the record's own question,
//! must have the record (or another member of its cluster) among its five first sources. The
//! model's own answer to the question is printed beside it.

use openledger_api::{AttributionRequest, CreditedRecord};
use openledger_engine::draw;
use openledger_factory::{TrainRecord, is_held_out};
use openledger_protocol::Record;

use super::args::DemoArgs;
use super::asking::{Channel, answer};
use super::datanets::Published;
use super::driver::Driver;
use super::input::question;
use super::summary::Summary;
use super::training::Offered;
use crate::console::short;
use crate::error::Result;

/// Stream of the draws that choose records.
const STREAM: u64 = 0x7072_6f62_6573_0000;
/// Among how many sources the record must be.
const FIRST: usize = 5;

/// `count` trained records, chosen by the seed without repetition.
fn chosen(datanets: &[Published], holdout: f64, seed: u64, count: usize) -> Vec<(&Published, &Record)> {
    let trained = |record: &Record| !is_held_out(TrainRecord::of(&record.id, &record.body).hash(), holdout);
    let mut candidates: Vec<(&Published, &Record)> = datanets
        .iter()
        .flat_map(|datanet| datanet.records.iter().map(move |record| (datanet, record)))
        .filter(|(_, record)| trained(record))
        .collect();
    let mut chosen = Vec::new();
    for turn in 0..count.min(candidates.len()) as u64 {
        let at = (draw(seed, STREAM, turn) % candidates.len() as u64) as usize;
        chosen.push(candidates.swap_remove(at));
    }
    chosen
}

/// Puts the chosen records to attribution.
pub(crate) async fn probe(
    driver: &Driver,
    args: &DemoArgs,
    model: &Offered,
    channel: &Channel,
    datanets: &[Published],
    summary: &mut Summary,
) -> Result<()> {
    let console = &driver.console;
    let chosen = chosen(datanets, model.holdout, driver.seed(), args.probe_records);
    if chosen.is_empty() {
        return Ok(());
    }
    console.step(&format!("Is the right record found? {} training records under their own answers", chosen.len()));
    let (mut hits, mut own_hits) = (0, 0);
    for (at, &(datanet, record)) in chosen.iter().enumerate() {
        let (question, response) = (question(&record.body), record.body.question_and_answer().1);
        let key = format!("probe/{at}");
        let request = AttributionRequest { model: model.name.clone(), prompt: question.clone(), response };
        let found = driver.call(1, async |node| node.attribute(&request, &key).await).await?;
        let place = place(&found.top, datanet, record);
        let hit = place.is_some_and(|place| place <= FIRST);
        hits += usize::from(hit);

        let bundle = answer(driver, args, model, channel, &format!("probe/{at}"), &question).await?;
        let own = top_of_answer(driver, &bundle).await?;
        let own_hit = own.iter().any(|name| same(name, datanet, record));
        own_hits += usize::from(own_hit);
        summary.receipt(&bundle);
        let place = place.map_or_else(|| "not found".to_owned(), |place| format!("place {place}"));
        let line = format!(
            "{} {place}; the model's own answer{}: {}",
            short(&record.id, 40),
            if own_hit { " rests on it too" } else { "" },
            short(&bundle.completion.text, 60)
        );
        if hit { console.good(line) } else { console.bad(line) }
    }
    console.figure("found", format!("{hits} of {} among the first {FIRST}", chosen.len()));
    console.figure("under own answers", format!("{own_hits} of {}", chosen.len()));
    summary.probes(hits, own_hits, chosen.len());
    Ok(())
}

/// Whether `name` is the record or a member of its cluster.
fn same(name: &str, datanet: &Published, record: &Record) -> bool {
    let owner = |id: &str| datanet.near.get(id).cloned().unwrap_or_else(|| id.to_owned());
    name == record.id || owner(name) == owner(&record.id)
}

/// The place, from 1, of the record among distinct sources, best first.
fn place(top: &[CreditedRecord], datanet: &Published, record: &Record) -> Option<usize> {
    let text = record.body.canonical_text();
    let mut seen: Vec<&str> = Vec::new();
    for source in top {
        let name = source.record.as_deref().unwrap_or_default();
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        if same(name, datanet, record) || source.text.as_deref() == Some(text.as_str()) {
            return Some(seen.len());
        }
    }
    None
}

/// The names of the records that an answer's spans and influence rest on most.
async fn top_of_answer(driver: &Driver, bundle: &openledger_protocol::ReceiptBundle) -> Result<Vec<String>> {
    use openledger_protocol::Layer;
    let mut names = Vec::new();
    for layer in [Layer::Spans, Layer::Influence] {
        let mut scores: Vec<_> = bundle.credits.scores.iter().filter(|score| score.layer == layer).collect();
        scores.sort_by_key(|score| (std::cmp::Reverse(score.score), score.record));
        for score in scores.iter().take(FIRST) {
            names.push(super::asking::record(driver, score.record).await?.record);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datanet(ids: &[&str], near: &[(&str, &str)]) -> Published {
        let record = |id: &&str| Record {
            id: (*id).to_owned(),
            contributors: vec!["river-gauge".into()],
            license: "CC0-1.0".into(),
            body: openledger_protocol::Body::Text { text: format!("The text of {id}.\nMore.") },
            meta: Default::default(),
        };
        Published {
            id: openledger_protocol::DatanetId(1),
            version: 1,
            records: ids.iter().map(record).collect(),
            near: near.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
        }
    }

    fn source(name: &str) -> CreditedRecord {
        CreditedRecord {
            record: Some(name.to_owned()),
            contribution: Default::default(),
            index: 0,
            contributors: Vec::new(),
            weight_ppm: 0,
            spans: 0,
            influence: 0,
            text: None,
        }
    }

    #[test]
    fn a_source_listed_under_two_layers_takes_one_place() {
        let datanet = datanet(&["a", "b"], &[]);
        let top = [source("a"), source("a"), source("b")];
        assert_eq!(place(&top, &datanet, &datanet.records[1]), Some(2));
        assert_eq!(place(&top[..2], &datanet, &datanet.records[1]), None);
    }

    #[test]
    fn a_member_of_the_records_cluster_counts() {
        let datanet = datanet(&["a", "b"], &[("b", "a")]);
        assert_eq!(place(&[source("a")], &datanet, &datanet.records[1]), Some(1));
    }

    #[test]
    fn records_are_chosen_by_the_seed_without_repetition() {
        let datanets = [datanet(&["a", "b", "c", "d"], &[])];
        let ids = |seed| -> Vec<String> { chosen(&datanets, 0.0, seed, 9).iter().map(|(_, r)| r.id.clone()).collect() };
        assert_eq!(ids(3), ids(3));
        let mut sorted = ids(3);
        sorted.sort();
        assert_eq!(sorted, ["a", "b", "c", "d"]);
    }
}
