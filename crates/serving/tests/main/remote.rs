//! Another server as a backend: ours, which speaks that dialect, and one that fails as the test wants it to.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use openledger_protocol::{AdapterHash, B256};
use openledger_serving::{
    Asked, Backend, Decoding, Embedded, Event, LoadAdapter, REMOTE_MODE, Remote, RemoteSetup, ServeError,
};

use super::client::serve_embedded;
use super::{request, saved, server};

/// A backend that asks the server at `url` for the base of `embedded`.
fn remote(url: &str, embedded: &Embedded) -> Remote {
    let own = embedded.capabilities();
    let setup = RemoteSetup {
        url: url.to_owned(),
        key: None,
        base_name: "far".into(),
        peer_base: "base".into(),
        base: own.base,
        max_tokens: own.max_tokens,
        vocab: own.vocab,
        silence: Duration::from_secs(20),
    };
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
}

#[test]
fn what_the_peer_cannot_do_is_refused_before_it_is_asked() {
    let embedded = server(0);
    let remote = remote("http://127.0.0.1:1", &embedded);
    let error = remote.generate(request("herons", "a"), Asked::default()).unwrap_err();
    assert!(matches!(error, ServeError::NotFound { .. }), "{error}");
    let decoding = Decoding { include_stop: true, ..Decoding::default() };
    let error = remote.generate(request("far", "a"), Asked { decoding, ..Asked::default() }).unwrap_err();
    assert!(matches!(error, ServeError::BadRequest { .. }), "{error}");
    let nameless = LoadAdapter { name: None, path: "1".into(), expected: None };
    assert!(matches!(remote.load_adapter(&nameless), Err(ServeError::BadRequest { param: "adapter_hash", .. })));
}

/// A peer that gives each connection the next of `replies`, then hangs up; how many came is told at the end.
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
    let events: Vec<Event> = remote(&url, &embedded).generate(request("far", "a"), Asked::default()).unwrap().collect();
    assert!(matches!(&events[..], [Event::Started(_), Event::Token(_), Event::Failed(ServeError::Remote { .. })]));
    assert_eq!(peer.join().unwrap(), 1);
    // A peer that stays busy is an error that says so.
    let (url, peer) = scripted(vec![BUSY.into(); 4]);
    let error = remote(&url, &embedded).complete(&request("far", "a"), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    assert_eq!(peer.join().unwrap(), 4);
}

#[test]
fn what_a_peer_says_wrongly_is_an_error_and_never_an_answer() {
    let embedded = server(0);
    for wrong in [
        format!("{OK}{}", chunk("[70000]", "\"length\"")),
        format!("{OK}{}", chunk("[]", "\"length\"")),
        format!("{OK}data: nonsense\n\n"),
        format!("{OK}data: {{\"error\":{{\"message\":\"out of memory\"}}}}\n\n"),
        "HTTP/1.1 400 Bad\r\ncontent-length: 2\r\n\r\nno".to_owned(),
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
