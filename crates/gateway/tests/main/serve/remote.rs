//! Another server as a backend: ours, which speaks that dialect, and one that fails as the test
//! wants it to.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use openledger_protocol::{AdapterHash, B256, FinishReason};
use openledger_serving::{
    Backend, ChatForm, Decoding, Embedded, Event, LoadAdapter, PeerSetup, REMOTE_MODE, Remote, RemoteSetup,
    RequestOptions, ServeError, Tenant,
};
use proptest::prelude::*;
use serde_json::json;

use super::client::{serve, serve_embedded};
use super::{request, saved, server};

/// A backend that asks the server at `url` for the base of `embedded`.
fn remote(url: &str, embedded: &Embedded) -> Remote {
    remote_with(PeerSetup { silence: Duration::from_secs(20), ..PeerSetup::new(url, "base") }, embedded)
}

fn remote_with(peer: PeerSetup, embedded: &Embedded) -> Remote {
    let base = embedded.capabilities().base;
    let setup = RemoteSetup { peer, base_name: "far".into(), base, config: embedded.model().config().clone() };
    Remote::with_pause(setup, Arc::clone(embedded.tokenizer()), |_| {}).unwrap()
}

#[test]
fn answers_come_from_the_peer_under_our_names_and_hashes_and_say_that_they_are_not_ours() {
    let (embedded, tmp) = (server(usize::MAX), tempfile::tempdir().unwrap());
    let hash = embedded.adapters().register(&saved(&embedded, tmp.path(), 1)).unwrap();
    embedded.adapters().unregister(hash).unwrap();
    let running = serve_embedded(&embedded, Some(tmp.path().to_owned()));
    let remote = remote(&format!("http://{}", running.address), &embedded);
    let adapter = LoadAdapter { name: Some("owls".into()), path: "1".into(), expected: Some(hash) };
    assert_eq!(remote.load_adapter(&adapter).unwrap(), hash);
    assert!(!remote.served()[1].resident, "loaded at its first use, not before");
    for (model, twin) in [("far", "base"), ("owls", "0x"), ("far:owls", "0x")] {
        let mut shown = String::new();
        let answer = remote
            .complete(&request(model, "the owl sat"), &mut |event| {
                shown.push_str(event.text);
                ControlFlow::Continue(())
            })
            .unwrap();
        let twin = if twin == "0x" { hash.to_string() } else { twin.to_owned() };
        let same = embedded.complete(&request(&twin, "the owl sat"), &mut |_| ControlFlow::Continue(())).unwrap();
        let (far, near) = (&answer.completion, &same.completion);
        assert_eq!((&far.output_ids, &far.text, &far.offsets), (&near.output_ids, &near.text, &near.offsets));
        assert_eq!((far.adapter, far.finish_reason, far.usage), (near.adapter, near.finish_reason, near.usage));
        assert_eq!(far.numeric_mode, REMOTE_MODE);
        assert!(far.text.starts_with(&shown) && answer.logprobs.len() == far.output_ids.len());
    }
    assert!(remote.served()[1].resident && !remote.capabilities().deterministic);
    // A peer that has lost the adapter is told to load it again.
    embedded.adapters().unregister(hash).unwrap();
    remote.complete(&request("owls", "the owl"), &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(remote.unload_adapter("owls").unwrap(), hash);
    assert!(!embedded.adapters().contains(hash), "the peer forgets it as well");
    let error = remote.complete(&request("owls", "the owl"), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, ServeError::NotFound { .. }), "{error}");
}

#[test]
fn scores_and_embeddings_are_the_peers() {
    let embedded = server(0);
    let running = serve_embedded(&embedded, None);
    let remote = remote(&format!("http://{}", running.address), &embedded);
    let ids = embedded.tokenizer().encode("the owl sat", true);
    let (far, near) = (remote.score("far", &ids).unwrap(), embedded.score("base", &ids).unwrap());
    assert_eq!(far.len(), near.len());
    assert!(far.iter().zip(&near).all(|(a, b)| (a - b).abs() < 1e-4), "{far:?} and {near:?}");
    assert_eq!(remote.embed("far", &ids).unwrap(), embedded.embed("base", &ids).unwrap());
    let (far, near) =
        (remote.prompt_logprobs("far", &ids, 2).unwrap(), embedded.prompt_logprobs("base", &ids, 2).unwrap());
    assert!(far[0].is_none() && far.len() == near.len());
    let tops = |of: &[Option<openledger_serving::TokenLogprob>]| -> Vec<(u32, usize)> {
        of.iter().flatten().map(|token| (token.id, token.top.len().min(2))).collect()
    };
    assert_eq!(tops(&far), tops(&near));
    // An answer of no tokens needs no peer, which might refuse to give one.
    let mut none = request("far", "the owl");
    none.sampling.max_tokens = 0;
    running.stop();
    let answer = remote.complete(&none, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((answer.completion.text.as_str(), answer.completion.usage.completion_tokens), ("", 0));
}

#[test]
fn what_the_peer_cannot_do_is_refused_before_it_is_asked() {
    let embedded = server(0);
    let remote = remote("http://127.0.0.1:1", &embedded);
    let error = remote.generate(request("herons", "a"), RequestOptions::default()).unwrap_err();
    assert!(matches!(error, ServeError::NotFound { .. }), "{error}");
    let nameless = LoadAdapter { name: None, path: "1".into(), expected: None };
    assert!(matches!(remote.load_adapter(&nameless), Err(ServeError::BadRequest { param: "adapter_hash", .. })));
}

/// A peer that gives each connection the next of `replies`, then hangs up; how many came is told at
/// the end.
fn scripted(replies: Vec<String>) -> (String, std::thread::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let peer = std::thread::spawn(move || {
        let count = replies.len();
        for reply in replies {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            let mut buffer = [0; 4096];
            // The body is JSON, which ends the request.
            while !seen.ends_with(b"}") {
                let read = stream.read(&mut buffer).unwrap();
                seen.extend_from_slice(&buffer[..read]);
            }
            stream.write_all(reply.as_bytes()).unwrap();
        }
        count
    });
    (url, peer)
}

fn chunk(ids: &str, finish: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"text\":\"x\",\"token_ids\":{ids},\"logprobs\":null,\"finish_reason\":{finish}}}]}}\n\n"
    )
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";

#[test]
fn a_request_is_repeated_until_its_first_token_and_not_after() {
    let embedded = server(0);
    let whole = format!("{OK}{}{}data: [DONE]\n\n", chunk("[5]", "null"), chunk("[9]", "\"length\""));
    let (url, peer) = scripted(vec![BUSY.into(), BUSY.into(), whole]);
    let answer = remote(&url, &embedded).complete(&request("far", "a"), &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((answer.completion.output_ids, peer.join().unwrap()), (vec![5, 9], 3));
    // One token, then silence: what was shown stands, and nothing is asked again.
    let (url, peer) = scripted(vec![format!("{OK}{}", chunk("[5]", "null"))]);
    let events: Vec<Event> =
        remote(&url, &embedded).generate(request("far", "a"), RequestOptions::default()).unwrap().collect();
    assert!(matches!(&events[..], [Event::Started(_), Event::Token(_), Event::Failed(ServeError::Remote { .. })]));
    assert_eq!(peer.join().unwrap(), 1);
    // A peer that stays busy is an error that says so.
    let (url, peer) = scripted(vec![BUSY.into(); 4]);
    let error = remote(&url, &embedded).complete(&request("far", "a"), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    assert_eq!(peer.join().unwrap(), 4);
}

#[test]
fn the_token_that_ends_an_answer_is_none_of_it_whether_the_peer_counts_it_or_not() {
    let embedded = server(0);
    // 0 is the base's end.
    for last in ["[9,0]", "[9]"] {
        let whole = format!("{OK}{}{}data: [DONE]\n\n", chunk("[5]", "null"), chunk(last, "\"stop\""));
        let (url, peer) = scripted(vec![whole]);
        let answer =
            remote(&url, &embedded).complete(&request("far", "a"), &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(answer.completion.output_ids, [5, 9]);
        assert_eq!((answer.logprobs.len(), answer.completion.finish_reason), (2, FinishReason::Stop));
        peer.join().unwrap();
    }
}

#[test]
fn what_a_peer_says_wrongly_is_an_error_and_never_an_answer() {
    let embedded = server(0);
    for wrong in [
        format!("{OK}{}", chunk("[70000]", "\"length\"")),
        format!("{OK}{}", chunk("[]", "\"length\"")),
        format!("{OK}data: nonsense\n\n"),
        format!("{OK}data: {{\"error\":{{\"message\":\"out of memory\"}}}}\n\n"),
        "HTTP/1.1 401 Who\r\ncontent-length: 2\r\n\r\nno".to_owned(),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_owned(),
    ] {
        let (url, peer) = scripted(vec![wrong.clone()]);
        let asked = remote(&url, &embedded).complete(&request("far", "a"), &mut |_| ControlFlow::Continue(()));
        assert!(matches!(asked, Err(ServeError::Remote { .. })), "{wrong}");
        peer.join().unwrap();
    }
    let elsewhere = AdapterHash(B256::repeat_byte(3));
    let remote = remote("http://127.0.0.1:1", &embedded);
    let adapter = LoadAdapter { name: Some("owls".into()), path: "1".into(), expected: Some(elsewhere) };
    remote.load_adapter(&adapter).unwrap();
    assert!(matches!(remote.score("owls", &[5, 9]), Err(ServeError::Remote { .. })));
}

#[test]
fn what_the_peer_refuses_about_a_request_is_the_callers_to_mend() {
    let embedded = server(0);
    let (url, peer) = scripted(vec!["HTTP/1.1 400 Bad\r\ncontent-length: 8\r\n\r\ntoo long".to_owned()]);
    let error = remote(&url, &embedded).complete(&request("far", "a"), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, ServeError::BadRequest { .. }) && error.to_string().contains("too long"), "{error}");
    assert_eq!(peer.join().unwrap(), 1);
}

#[test]
fn a_folder_that_lies_here_is_hashed_here_and_told_by_the_path_it_has_there() {
    let (embedded, tmp) = (server(usize::MAX), tempfile::tempdir().unwrap());
    let folder = saved(&embedded, tmp.path(), 1);
    let hash = embedded.adapters().register(&folder).unwrap();
    let running = serve_embedded(&embedded, Some(tmp.path().to_owned()));
    let url = format!("http://{}", running.address);
    // A link stands for a mount: the same folder under the peer's own path.
    let mount = tempfile::tempdir().unwrap();
    let here = mount.path().join("here");
    std::os::unix::fs::symlink(tmp.path(), &here).unwrap();
    let peer = PeerSetup { adapters: Some((here.clone(), tmp.path().to_owned())), ..PeerSetup::new(&url, "base") };
    let remote = remote_with(peer, &embedded);
    let adapter = LoadAdapter { name: Some("owls".into()), path: here.join("1"), expected: None };
    assert_eq!(remote.load_adapter(&adapter).unwrap(), hash);
    assert_eq!(remote.load_adapter(&adapter).unwrap(), hash, "the same again is the same generation");
    assert_eq!(remote.served()[1].generation, 1);
    let answer = remote.complete(&request("owls", "the owl"), &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(answer.completion.adapter, hash);
    let wrong = LoadAdapter { expected: Some(AdapterHash(B256::repeat_byte(3))), ..adapter };
    assert!(matches!(remote.load_adapter(&wrong), Err(ServeError::Changed { .. })));
}

#[test]
fn a_peer_of_another_name_or_tokenizer_is_found_out_before_the_first_request() {
    let embedded = server(0);
    let running = serve_embedded(&embedded, None);
    let url = format!("http://{}", running.address);
    remote(&url, &embedded).check().unwrap();
    let error = remote_with(PeerSetup::new(&url, "heron-7b"), &embedded).check().unwrap_err();
    assert!(error.to_string().contains("[\"base\"] and no `heron-7b`"), "{error}");
    let whole = |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = format!("http://{}", listener.local_addr().unwrap());
    let replies = [whole(r#"{"data":[{"id":"base"}]}"#), whole(r#"{"tokens":[1,2,3]}"#)];
    let peer = std::thread::spawn(move || {
        for reply in replies {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(reply.as_bytes()).unwrap();
        }
    });
    let error = remote(&other, &embedded).check().unwrap_err();
    assert!(error.to_string().contains("other tokens"), "{error}");
    peer.join().unwrap();
}

#[test]
fn a_reader_that_leaves_cuts_the_connection_even_before_the_first_token() {
    let embedded = server(0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let remote = remote(&url, &embedded);
    let events = remote.generate(request("far", "a"), RequestOptions::default()).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // It has asked and waits; the peer says nothing.
    let mut buffer = [0; 4096];
    assert!(stream.read(&mut buffer).unwrap() > 0);
    drop(events);
    let mut left = Vec::new();
    stream.read_to_end(&mut left).unwrap();
    // Nothing is asked again.
    listener.set_nonblocking(true).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert!(listener.accept().is_err());
}

#[test]
fn more_requests_than_the_peer_is_given_are_refused_and_counted() {
    let embedded = server(0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let remote = remote_with(PeerSetup { running: 1, ..PeerSetup::new(&url, "base") }, &embedded);
    let tenant = || RequestOptions { tenant: Tenant::new("heron"), ..RequestOptions::default() };
    let first = remote.generate(request("far", "a"), tenant()).unwrap();
    let error = remote.generate(request("far", "a"), tenant()).unwrap_err();
    assert!(matches!(error, ServeError::Overloaded { .. }) && error.retry_after().is_some(), "{error}");
    let whole = format!("{OK}{}data: [DONE]\n\n", chunk("[5]", "\"length\""));
    let (mut stream, _) = listener.accept().unwrap();
    let _ = stream.read(&mut [0; 4096]).unwrap();
    stream.write_all(whole.as_bytes()).unwrap();
    drop(stream);
    assert!(matches!(first.last(), Some(Event::Finished(_))));
    let counts = remote.metrics().snapshot().tenants["heron"].clone();
    assert_eq!((counts.refused, counts.answered, counts.tokens_out), (1, 1, 1));
}

#[test]
fn a_stop_text_that_is_to_stay_stays_and_forms_of_answers_are_the_peers_to_keep() {
    let (embedded, tmp) = (server(usize::MAX), tempfile::tempdir().unwrap());
    let running = serve_embedded(&embedded, Some(tmp.path().to_owned()));
    let remote = remote(&format!("http://{}", running.address), &embedded);
    let plain = remote.complete(&request("far", "the owl"), &mut |_| ControlFlow::Continue(())).unwrap();
    let text = plain.completion.text;
    let mut asked = request("far", "the owl");
    asked.sampling.stop = vec![text.chars().skip(2).take(2).collect()];
    let decoding = Decoding { include_stop: true, ..Decoding::default() };
    let run = remote.generate(asked.clone(), RequestOptions { decoding, ..RequestOptions::default() }).unwrap();
    let Some(Event::Finished(answer)) = run.last() else { panic!("no answer") };
    assert!(answer.completion.text.contains(&asked.sampling.stop[0]), "{}", answer.completion.text);
    // One server in front of the other: a schema goes through to the one that computes.
    let front = serve(Arc::new(remote), &embedded, ChatForm::Dialog, None);
    let schema = json!({ "type": "object", "properties": { "n": { "enum": [7] } }, "required": ["n"],
        "additionalProperties": false });
    // White space is out, so that the answer ends.
    let blank = |id: &u32| embedded.tokenizer().piece(*id).iter().any(u8::is_ascii_whitespace);
    let bias: serde_json::Map<String, serde_json::Value> =
        (0..300).filter(blank).map(|id| (id.to_string(), json!(-100))).collect();
    let body = json!({ "model": "far", "messages": [{ "role": "user", "content": "the owl" }], "max_tokens": 24,
        "logit_bias": bias, "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": schema } } });
    let said = front.post("/v1/chat/completions", &body);
    assert_eq!(said.status, 200, "{}", said.body);
    let text = said.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), json!({ "n": 7 }), "{text}");
}

/// Parts of what a peer may send, well-formed and not.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 404 No\r\n",
        "content-length: 5\r\n",
        "transfer-encoding: chunked\r\n",
        "\r\n",
        "5\r\n",
        "ffffffffffffffff\r\n",
        "0\r\n\r\n",
        "data: [DONE]\n\n",
        "data: {\"choices\":[{\"token_ids\":[5],\"text\":\"x\"}]}\n\n",
        "data: {\"choices\":[{\"token_ids\":[],\"finish_reason\":\"stop\"}]}\n\n",
        "event: x\n",
        "data: {\"error\":7}\n\n",
    ];
    prop_oneof![
        4 => proptest::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..12),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_a_peer_sends_is_an_answer_or_an_error_that_says_so(
        parts in proptest::collection::vec(part(), 0..8), head in any::<bool>(),
    ) {
        let (embedded, address, reply) = &*ANYTHING;
        *reply.lock().unwrap() = [if head { OK.as_bytes() } else { b"" }, &parts.concat()].concat();
        let asked = remote(address, embedded).complete(&request("far", "a"), &mut |_| ControlFlow::Continue(()));
        match asked {
            Ok(answer) => prop_assert!(answer.completion.output_ids.iter().all(|id| *id == 5)),
            // A run that broke off would end in `Stopped`.
            Err(error) => prop_assert!(matches!(error, ServeError::Remote { .. } | ServeError::BadRequest { .. }), "{error}"),
        }
    }
}

/// What a peer says next.
type Reply = Arc<Mutex<Vec<u8>>>;

/// A peer that gives every connection the reply of the moment.
static ANYTHING: LazyLock<(Embedded, String, Reply)> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, reply) = (format!("http://{}", listener.local_addr().unwrap()), Arc::new(Mutex::new(Vec::new())));
    let told = Arc::clone(&reply);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(&told.lock().unwrap());
        }
    });
    (server(0), address, reply)
});
