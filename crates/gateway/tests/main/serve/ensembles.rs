//! Ensembles over HTTP: made, listed, asked and unloaded like adapters.

use openledger_serving::{Ensemble, Member, Weight};
use serde_json::{Value, json};

use super::client::serve;
use super::{saved, server};

#[test]
fn ensembles_are_made_listed_asked_and_unloaded_over_http() {
    let tmp = tempfile::tempdir().unwrap();
    let embedded = server(usize::MAX);
    let [one, two] = [1, 2].map(|seed| embedded.adapters().register(&saved(&embedded, tmp.path(), seed)).unwrap());
    for (name, hash) in [("owls", one), ("herons", two)] {
        embedded.adapters().set_alias(name, hash, None).unwrap();
    }
    let running = serve(std::sync::Arc::new(embedded.clone()), &embedded, embedded.chat_form().clone(), None);
    let made = |members: Value| running.post("/v1/ensembles", &json!({ "name": "birds", "members": members }));
    for (members, about) in [
        (json!([]), "1 to 64"),
        (json!("owls"), "must be an array"),
        (json!([{ "model": "owls" }]), "`members[0].weight`"),
        (json!([{ "weight": 1 }]), "`members[0].model`"),
        (json!([{ "model": "owls", "weight": 0 }]), "0.000001 to 1000"),
        (json!([{ "model": "owls", "weight": 0.5 }, { "model": "herons", "weight": -1 }]), "`members[1].weight` is -1"),
        (json!([{ "model": "owls", "weight": 0.12345678 }]), "six decimals"),
        (json!([{ "model": "owls", "weight": 1 }, { "model": one, "weight": 1 }]), "twice"),
        (json!([{ "model": "base", "weight": 1 }]), "names the base"),
    ] {
        let response = made(members.clone());
        let error = response.json()["error"].clone();
        assert_eq!((response.status, error["param"].as_str()), (400, Some("members")), "{members}");
        assert!(error["message"].as_str().unwrap().contains(about), "{members}: {error}");
    }
    assert_eq!(made(json!([{ "model": "larks", "weight": 1 }])).status, 404);
    assert_eq!(running.get("/v1/ensembles").json()["data"], json!([]));

    let response = made(json!([{ "model": "owls", "weight": 0.7 }, { "model": two, "weight": 0.3 }]));
    assert_eq!(response.status, 200, "{}", response.body);
    let member = |(adapter, weight)| Member { adapter, weight: Weight::from_decimal(weight).unwrap() };
    let hash = Ensemble::new([(one, 0.7), (two, 0.3)].map(member).into()).unwrap().hash();
    assert_eq!(response.header("x-openledger-adapter"), Some(hash.to_string().as_str()));
    let listed = running.get("/v1/ensembles").json()["data"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(
        (&listed[0]["id"], &listed[0]["adapter"], &listed[0]["generation"]),
        (&json!("birds"), &json!(hash), &json!(1))
    );
    let mut members = json!([{ "adapter": one, "weight": 0.7 }, { "adapter": two, "weight": 0.3 }]);
    if one > two {
        members.as_array_mut().unwrap().reverse();
    }
    assert_eq!(listed[0]["members"], members);
    assert_eq!(running.get("/v1/models/birds").json()["root"], json!(hash));

    let asked = json!({ "model": "birds", "prompt": "the owl", "max_tokens": 5, "temperature": 0 });
    let answer = running.post("/v1/completions", &asked);
    assert_eq!((answer.status, answer.header("x-openledger-adapter")), (200, Some(hash.to_string().as_str())));
    let needed = running.post("/v1/unload_lora_adapter", &json!({ "lora_name": "owls" }));
    assert_eq!((needed.status, needed.json()["error"]["code"].as_str()), (409, Some("adapter_needed")));
    let again = made(json!([{ "model": "owls", "weight": 1 }, { "model": "herons", "weight": 1 }]));
    assert_eq!((again.status, again.json()["error"]["code"].as_str()), (400, Some("adapter_exists")));
    for name in ["birds", "owls"] {
        assert_eq!(running.post("/v1/unload_lora_adapter", &json!({ "lora_name": name })).status, 200);
    }
    assert_eq!(running.post("/v1/completions", &asked).status, 404);
}
