//! Ensembles: taking them in and listing them. They are asked for, listed and unloaded as adapters
//! are.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use openledger_api::openai::{EnsembleEntry, EnsembleMember, EnsembleShare, NewEnsemble, ObjectList};
use openledger_protocol::AdapterHash;
use openledger_serving::{Ensemble, Member, ServeError, Served, Weight};

use super::server::Server;
use crate::call::describe;
use crate::openai::{ApiError, Parsed, ensemble_request};
use crate::refusal::{Refusal, blocking, json as read_json, refusal};

/// The ensemble `adapter` under the name that `served` has.
fn entry(served: Served, adapter: AdapterHash, ensemble: &Ensemble) -> EnsembleEntry {
    let member = |member: &Member| EnsembleMember {
        adapter: member.adapter,
        weight: f64::from(member.weight.millionths()) / 1e6,
    };
    EnsembleEntry {
        id: served.name,
        object: "ensemble".into(),
        adapter,
        generation: served.generation,
        resident: served.resident,
        members: ensemble.members().iter().map(member).collect(),
    }
}

pub(super) async fn list(State(server): State<Arc<Server>>) -> Json<ObjectList<EnsembleEntry>> {
    let ensembles = server.backend().served().into_iter().filter_map(|served| {
        let adapter = served.adapter?;
        Some(entry(served, adapter, &server.backend().ensemble(adapter)?))
    });
    Json(ObjectList::new(ensembles.collect()))
}

/// Names and weights of the members that an ensemble is made of.
fn members(shares: Vec<EnsembleShare>) -> Result<Vec<(String, Weight)>, Refusal> {
    let member = |(at, EnsembleShare { model, weight }): (usize, EnsembleShare)| {
        let bad = |_| {
            let rule = "a weight is 0.000001 to 1000 and has at most six decimals";
            ApiError::invalid("members", format!("`members[{at}].weight` is {weight}; {rule}"))
        };
        Ok((model, Weight::from_decimal(weight).map_err(bad)?))
    };
    shares.into_iter().enumerate().map(member).collect()
}

pub(super) async fn load(
    State(server): State<Arc<Server>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let Parsed { request, ignored } = ensemble_request(&read_json(body)?)?;
    let NewEnsemble { name, members: shares, load_inplace } = request;
    let members = members(shares)?;
    if server.backend().find(&name).is_some() && load_inplace != Some(true) {
        let message = format!("`{name}` exists already; set `load_inplace` to true to point it to this ensemble");
        return Err(refusal(400, "invalid_request_error", Some("name"), "adapter_exists", message));
    }
    let (own, wanted) = (Arc::clone(&server), name.clone());
    let adapter = blocking(move || own.backend().load_ensemble(&wanted, &members)).await?;
    // Somebody may have moved the name since; what was taken in is told all the same.
    let served = Served { name, adapter: Some(adapter), generation: 0, resident: false };
    let served = server.backend().find(&served.name).filter(|now| now.adapter == Some(adapter)).unwrap_or(served);
    // It was unloaded meanwhile.
    let gone = || ServeError::NotFound { model: served.name.clone() };
    let ensemble = server.backend().ensemble(adapter).ok_or_else(gone)?;
    let mut response = Json(entry(served, adapter, &ensemble)).into_response();
    describe(&mut response, &adapter.to_string(), &ignored);
    Ok(response)
}
