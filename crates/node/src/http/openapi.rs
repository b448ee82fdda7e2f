//! `/openapi.json`: the document of this node's routes, made from the table below, which a test holds against the router.

use axum::Json;
use serde_json::{Map, Value, json};

/// Method, path and one sentence of every route of the native API and the OpenAI dialect.
pub(crate) const ROUTES: &[(&str, &str, &str)] = &[
    ("get", "/api/v1/network", "What network this is and who the node is on it"),
    ("get", "/api/v1/accounts", "Contributors' handles and accounts"),
    ("post", "/api/v1/accounts", "Note handles and accounts"),
    ("get", "/api/v1/datanets", "All datanets"),
    ("post", "/api/v1/datanets", "Take up a datanet whose title is on chain"),
    ("post", "/api/v1/datanets/{id}/imports", "Take a JSONL file into a datanet"),
    ("post", "/api/v1/imports/{import}/signatures", "Register an import's batches with their registrants' signatures"),
    ("get", "/api/v1/datanets/{id}/next-version", "What the owner signs to publish"),
    ("post", "/api/v1/datanets/{id}/versions", "Publish the next version"),
    ("post", "/api/v1/datanets/{id}/grants", "Put a signed grant on chain"),
    ("post", "/api/v1/jobs", "Order an adapter"),
    ("get", "/api/v1/jobs/{id}", "How a job stands"),
    ("get", "/api/v1/models", "Models on offer"),
    ("post", "/api/v1/models", "Offer a trained adapter"),
    ("get", "/api/v1/models/{name}/manifest", "What went into a model"),
    ("get", "/api/v1/models/{name}/records", "The records a model was trained on, in order"),
    ("post", "/api/v1/channels/keys", "The session account for a payer's channel"),
    ("post", "/api/v1/channels", "Take up a funded channel; gives its API key"),
    ("post", "/api/v1/attributions", "Credit a given answer, free"),
    ("get", "/api/v1/receipts", "The newest receipts"),
    ("get", "/api/v1/receipts/{id}", "A receipt's bundle"),
    ("get", "/api/v1/epochs", "All epochs"),
    ("post", "/api/v1/epochs", "Settle the open epoch"),
    ("get", "/api/v1/epochs/{number}", "An epoch as a stranger needs it"),
    ("get", "/api/v1/epochs/{number}/payouts", "Who has earned what"),
    ("get", "/api/v1/epochs/{number}/publication", "What lies under an epoch's roots, for whoever watches"),
    ("post", "/api/v1/epochs/pending/watch", "Judge the pending proposal by what its proposer published"),
    ("post", "/api/v1/epochs/pending/challenge", "Refute the pending proposal"),
    ("post", "/api/v1/claims", "Claim earnings for accounts"),
    ("get", "/api/v1/records/{contribution}/{index}", "A record"),
    ("get", "/api/v1/overview", "What the Studio's first page shows"),
    ("get", "/api/v1/audit", "Check supply, chain, epochs and receipts"),
    ("post", "/v1/chat/completions", "Ask a model (OpenAI dialect)"),
    ("post", "/v1/completions", "Have a model go on with a text (OpenAI dialect)"),
    ("get", "/v1/models", "Models on offer (OpenAI dialect)"),
    ("get", "/v1/models/{name}", "A model on offer (OpenAI dialect)"),
    ("post", "/v1/embeddings", "Refused: there is no receipt for numbers"),
    ("post", "/v1/load_lora_adapter", "Refused: the ledger is the registry of adapters"),
    ("post", "/v1/unload_lora_adapter", "Refused: the ledger is the registry of adapters"),
    ("post", "/tokenize", "A text or conversation as token ids, free"),
    ("post", "/detokenize", "Token ids as text, free"),
    ("get", "/health/live", "The process runs"),
    ("get", "/health/ready", "Database and chain answer"),
    ("get", "/metrics", "Counters in the Prometheus text format"),
];

/// The document.
pub(crate) async fn document() -> Json<Value> {
    let mut paths: Map<String, Value> = Map::new();
    for (method, path, summary) in ROUTES {
        let parameters: Vec<Value> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
            .collect();
        let problem = json!({
            "description": "What is wrong and what to do",
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        });
        let mut operation = json!({
            "summary": summary,
            "operationId": format!("{method}{}", path.replace(['/', '{', '}', '-'], "_")),
            "parameters": parameters,
            "responses": {
                "200": { "description": "Done", "content": { "application/json": { "schema": { "type": "object" } } } },
                "default": problem,
            },
        });
        if *method == "post" {
            operation["security"] = json!([{ "bearer": [] }]);
            operation["requestBody"] = json!({ "content": { "application/json": { "schema": { "type": "object" } } } });
        }
        let item = paths.entry((*path).to_owned()).or_insert_with(|| json!({}));
        item[*method] = operation;
    }
    Json(json!({
        "openapi": "3.1.0",
        "info": { "title": "OpenLedger node", "version": env!("CARGO_PKG_VERSION"), "license": { "name": "MIT OR Apache-2.0" } },
        "paths": paths,
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "schemas": {
                "Problem": {
                    "type": "object",
                    "required": ["type", "title", "status", "code", "detail"],
                    "properties": {
                        "type": { "type": "string" }, "title": { "type": "string" }, "status": { "type": "integer" },
                        "code": { "type": "string" }, "detail": { "type": "string" },
                        "problems": { "type": "array", "items": { "type": "object" } },
                    },
                },
            },
        },
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::ROUTES;

    /// Method and path of every `.route(..)` in a source file.
    fn routes(source: &str, prefix: &str) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for call in source.split(".route(\"").skip(1) {
            let (path, rest) = call.split_once("\", ").unwrap();
            let handlers = rest.split(".route(").next().unwrap().lines().next().unwrap();
            for method in ["get", "post"] {
                if handlers.starts_with(&format!("{method}(")) || handlers.contains(&format!(").{method}(")) {
                    found.insert((method.to_owned(), format!("{prefix}{path}")));
                }
            }
        }
        found
    }

    #[test]
    fn the_document_lists_exactly_the_routes_of_the_router() {
        let mut routed = routes(include_str!("native.rs"), "/api/v1");
        routed.extend(routes(include_str!("openai/mod.rs"), "/v1"));
        routed.extend(routes(include_str!("mod.rs"), ""));
        // Mounted as `openledger serve` has them.
        routed.extend(["/tokenize", "/detokenize"].map(|path| ("post".to_owned(), path.to_owned())));
        routed.remove(&("get".to_owned(), "/openapi.json".to_owned()));
        let told: BTreeSet<_> =
            ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
        assert_eq!(told, routed);
        assert_eq!(told.len(), ROUTES.len(), "a route stands twice in the table");
    }
}
