//! Answers: metering, stop texts, cancelling, and checking them again.

use std::ops::ControlFlow;

use openledger_engine::NUMERIC_MODE;
use openledger_protocol::{AdapterHash, B256, Completion, FinishReason};
use openledger_serving::{Answer, Backend, Check, CompletionRequest, Embedded, Prompt, ReexecuteError, ServeError};

use super::{request, saved, server};

fn ask(server: &Embedded, request: &CompletionRequest) -> (Answer, String) {
    let mut shown = String::new();
    let answer = server.complete(request, &mut |event| {
        shown.push_str(event.text);
        ControlFlow::Continue(())
    });
    (answer.unwrap(), shown)
}

/// Requests of every kind, each with another way to end or to choose.
fn requests() -> Vec<CompletionRequest> {
    let greedy = request("base", "the owl sat");
    let mut sampled = greedy.clone();
    sampled.sampling.temperature_milli = 900;
    sampled.sampling.top_p_milli = 950;
    let mut long = sampled.clone();
    long.sampling.max_tokens = 10_000;
    let mut ids = greedy.clone();
    ids.prompt = Prompt::Ids(vec![5, 9, 70, 33]);
    let mut none = greedy.clone();
    none.sampling.max_tokens = 0;
    vec![greedy, sampled, long, ids, none]
}

#[test]
fn an_answer_names_what_made_it_and_counts_what_it_used() {
    let server = server(0);
    let (Answer { completion, logprobs, .. }, shown) = ask(&server, &request("base", "the owl sat"));
    assert_eq!(completion.base.0.0, server.model().hash());
    assert_eq!(completion.adapter, AdapterHash(B256::ZERO));
    assert_eq!(completion.tokenizer.0, server.tokenizer().hash());
    assert_eq!(completion.numeric_mode, NUMERIC_MODE);
    assert_eq!(completion.prompt_ids, server.tokenizer().encode("the owl sat", true));
    assert_eq!(completion.text, server.tokenizer().decode(&completion.output_ids));
    assert!(completion.text.starts_with(&shown));
    assert_eq!(completion.usage.prompt_tokens as usize, completion.prompt_ids.len());
    assert_eq!(completion.usage.completion_tokens as usize, completion.output_ids.len());
    assert_eq!((completion.offsets.len(), logprobs.len()), (completion.output_ids.len(), completion.output_ids.len()));
    assert!(logprobs.iter().zip(&completion.output_ids).all(|(l, id)| l.id == *id && l.logprob <= 0.0));
}

#[test]
fn the_reported_likelihoods_are_those_of_the_score() {
    let server = server(0);
    let mut with_top = request("base", "the owl sat");
    with_top.top_logprobs = 3;
    let (Answer { completion, logprobs, .. }, _) = ask(&server, &with_top);
    let ids = [completion.prompt_ids.clone(), completion.output_ids.clone()].concat();
    let scores = server.score("base", &ids).unwrap();
    for (at, logprob) in logprobs.iter().enumerate() {
        let score = scores[completion.prompt_ids.len() - 1 + at];
        assert!((logprob.logprob - score).abs() < 1e-4, "{} and {score}", logprob.logprob);
        assert_eq!(logprob.top.len(), 3);
        assert_eq!(logprob.top[0].0, logprob.id, "greedy takes the likeliest");
        assert!(logprob.top.windows(2).all(|pair| pair[0].2 >= pair[1].2));
    }
}

#[test]
fn both_checks_confirm_every_answer() {
    let (server, tmp) = (server(usize::MAX), tempfile::tempdir().unwrap());
    let hash = server.adapters().register(&saved(&server, tmp.path(), 4)).unwrap();
    for mut request in requests() {
        for model in ["base".to_owned(), hash.to_string()] {
            request.model = model;
            let (answer, _) = ask(&server, &request);
            for check in [Check::TeacherForced, Check::Regenerate] {
                server.reexecute(&answer.completion, check).unwrap();
            }
        }
    }
}

#[test]
fn an_answer_with_a_stop_text_ends_before_it_and_is_confirmed() {
    let server = server(0);
    let (whole, _) = ask(&server, &request("base", "the owl sat"));
    let text = &whole.completion.text;
    // A stretch of the answer that crosses into its middle, on character boundaries.
    let from = text.char_indices().nth(3).unwrap().0;
    let until = text.char_indices().nth(6).map_or(text.len(), |(at, _)| at);
    let stop = text[from..until].to_owned();
    let mut stopping = request("base", "the owl sat");
    stopping.sampling.stop = vec!["never said".into(), stop.clone()];
    let (answer, shown) = ask(&server, &stopping);
    assert_eq!(answer.completion.finish_reason, FinishReason::Stop);
    assert_eq!(answer.completion.text, text[..text.find(&stop).unwrap()]);
    assert_eq!(shown, answer.completion.text);
    for check in [Check::TeacherForced, Check::Regenerate] {
        server.reexecute(&answer.completion, check).unwrap();
    }
}

#[test]
fn a_changed_completion_is_refused_by_the_member_that_changed() {
    let server = server(0);
    let (answer, _) = ask(&server, &request("base", "the owl sat"));
    let good = answer.completion;
    type Change = fn(&mut Completion);
    let changes: [(&str, Change); 9] = [
        ("base", |c| c.base.0 = B256::ZERO),
        ("tokenizer", |c| c.tokenizer = B256::ZERO),
        ("numeric_mode", |c| c.numeric_mode = "bf16dot".into()),
        ("prompt", |c| c.prompt.push('!')),
        ("output_ids", |c| c.output_ids[2] ^= 1),
        ("text", |c| c.text.push('!')),
        ("offsets", |c| c.offsets[1].1 += 1),
        ("usage.completion_tokens", |c| c.usage.completion_tokens += 1),
        ("finish_reason", |c| {
            c.finish_reason =
                if c.finish_reason == FinishReason::Stop { FinishReason::Length } else { FinishReason::Stop }
        }),
    ];
    for (field, change) in changes {
        let mut bad = good.clone();
        change(&mut bad);
        for check in [Check::TeacherForced, Check::Regenerate] {
            let error = server.reexecute(&bad, check).unwrap_err();
            assert!(matches!(&error, ReexecuteError::Mismatch(m) if m.field == field), "{field}: {error}");
        }
    }
}

#[test]
fn a_shortened_answer_is_not_confirmed() {
    let server = server(0);
    let (answer, _) = ask(&server, &request("base", "the owl sat"));
    let mut short = answer.completion;
    short.output_ids.pop();
    for check in [Check::TeacherForced, Check::Regenerate] {
        let error = server.reexecute(&short, check).unwrap_err();
        assert!(matches!(&error, ReexecuteError::Mismatch(m) if m.field == "output_ids"), "{error}");
    }
}

#[test]
fn a_cancelled_answer_is_the_start_of_the_whole_one_and_can_be_checked() {
    let server = server(0);
    let (whole, _) = ask(&server, &request("base", "the owl sat"));
    let mut seen = 0;
    let stopped = server.complete(&request("base", "the owl sat"), &mut |_| {
        seen += 1;
        if seen == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let answer = stopped.unwrap();
    assert!(answer.cancelled && !whole.cancelled);
    assert_eq!(answer.completion.output_ids, whole.completion.output_ids[..4]);
    assert_eq!(answer.completion.usage.completion_tokens, 4);
    server.reexecute(&answer.completion, Check::Regenerate).unwrap();
}

#[test]
fn what_cannot_be_answered_is_refused_by_name() {
    let server = server(0);
    let refuse = |change: &dyn Fn(&mut CompletionRequest)| {
        let mut bad = request("base", "the owl");
        change(&mut bad);
        server.complete(&bad, &mut |_| ControlFlow::Continue(())).unwrap_err()
    };
    let long = refuse(&|r| r.prompt = Prompt::Ids(vec![5; 48]));
    assert!(matches!(long, ServeError::PromptTooLong { tokens: 48, limit: 48 }), "{long}");
    assert!(matches!(refuse(&|r| r.prompt = Prompt::Ids(vec![])), ServeError::BadRequest { param: "prompt", .. }));
    assert!(matches!(refuse(&|r| r.top_logprobs = 21), ServeError::BadRequest { param: "top_logprobs", .. }));
    assert!(matches!(refuse(&|r| r.sampling.top_p_milli = 0), ServeError::Run(_)));
    assert!(matches!(refuse(&|r| r.prompt = Prompt::Ids(vec![100_000])), ServeError::Run(_)));
}

/// The small base in a folder, with these files beside it.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let (server, tmp) = (server(0), tempfile::tempdir().unwrap());
    server.model().save(tmp.path()).unwrap();
    server.tokenizer().save(tmp.path()).unwrap();
    for (name, text) in files {
        std::fs::write(tmp.path().join(name), text).unwrap();
    }
    tmp
}

#[test]
fn end_tokens_of_the_generation_config_end_answers() {
    let asked = request("base", "the owl sat");
    let load = |files: &[(&str, &str)]| Embedded::load(folder(files).path(), "base", 0).unwrap();
    let plain = ask(&load(&[]), &asked).0.completion;
    let end = *plain.output_ids.iter().find(|id| **id != plain.output_ids[0]).unwrap();
    let at = plain.output_ids.iter().position(|id| *id == end).unwrap();
    for listed in [format!("[0, {end}]"), end.to_string()] {
        let generation = format!("{{\"eos_token_id\": {listed}}}");
        let server = load(&[("generation_config.json", &generation)]);
        let completion = ask(&server, &asked).0.completion;
        assert_eq!(
            (completion.output_ids.as_slice(), completion.finish_reason),
            (&plain.output_ids[..at], FinishReason::Stop)
        );
        assert_eq!(completion.base, plain.base, "the base's hash is of its configuration and weights");
    }
}

#[test]
fn a_start_token_comes_before_a_text_only_where_the_tokenizer_puts_it_there() {
    let ids = |add: bool| {
        let config = format!("{{\"bos_token\": \"<|end|>\", \"add_bos_token\": {add}}}");
        let tmp = folder(&[("tokenizer_config.json", &config)]);
        let server = Embedded::load(tmp.path(), "base", 0).unwrap();
        let completion = ask(&server, &request("base", "the owl sat")).0.completion;
        server.reexecute(&completion, Check::Regenerate).unwrap();
        completion.prompt_ids
    };
    let (with, without) = (ids(true), ids(false));
    assert_eq!((with[0], &with[1..]), (0, without.as_slice()));
}
