//! `openledger job`: the background work of a node, such as training runs.
//!
//! **Not here:** ordering a job, which belongs to the verb that needs it, such as `openledger model
//! train`.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use openledger_api::client::Client;
use openledger_api::{Job, JobEvent, JobEventKind, JobKind, JobProgress, JobResult, JobState};

use super::progress::nats;
use super::{ListArgs, print_json, print_list};
use crate::connection::NodeArgs;
use crate::console::short;
use crate::error::{CliError, Exit, Result, with_causes};

/// Pause before a stream of events is opened again that broke or ended before its job did.
const PAUSE: Duration = Duration::from_secs(1);
/// Maximum number of streams in a row without a new event.
const ATTEMPTS_MAX: u32 = 60;
/// Characters of a log line or cause that are printed.
const SHOWN: usize = 200;

/// State of a job, as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    /// It waits for a worker.
    Queued,
    /// A worker holds it.
    Running,
    /// It has a result.
    Done,
    /// It was given up.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl From<State> for JobState {
    fn from(state: State) -> Self {
        match state {
            State::Queued => Self::Queued,
            State::Running => Self::Running,
            State::Done => Self::Done,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
        }
    }
}

/// Verbs on jobs.
#[derive(Subcommand, Debug)]
pub(crate) enum JobVerb {
    /// List the jobs of a node, newest first.
    List {
        /// List only jobs in this state; default: all.
        #[arg(long, value_enum)]
        state: Option<State>,
        #[command(flatten)]
        node: NodeArgs,
        #[command(flatten)]
        list: ListArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a job: state, cause, progress, result.
    Show {
        /// Id of the job.
        id: u64,
        #[command(flatten)]
        node: NodeArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the events of a job until it ends. Exit status 1: it failed or was cancelled.
    Follow {
        /// Id of the job.
        id: u64,
        #[command(flatten)]
        node: NodeArgs,
        /// Print each event as one line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Cancel a queued or running job. A running one ends shortly afterwards.
    Cancel {
        /// Id of the job.
        id: u64,
        #[command(flatten)]
        node: NodeArgs,
        /// Print the job as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Queue a failed or cancelled job again.
    Retry {
        /// Id of the job.
        id: u64,
        #[command(flatten)]
        node: NodeArgs,
        /// Print the job as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the verb.
pub(crate) async fn run(verb: JobVerb) -> Result<()> {
    match verb {
        JobVerb::List { state, node, list, json } => {
            print_list(node.client()?.jobs(state.map(JobState::from)), &list, json).await
        }
        JobVerb::Show { id, node, json } => {
            let job = node.client()?.job(id).await?;
            if json {
                return print_json(&job);
            }
            describe(&job);
            Ok(())
        }
        JobVerb::Follow { id, node, json } => follow(&node.client()?, id, json, PAUSE).await,
        JobVerb::Cancel { id, node, json } => changed(&node.client()?.cancel_job(id).await?, json),
        JobVerb::Retry { id, node, json } => changed(&node.client()?.retry_job(id).await?, json),
    }
}

/// The words for a state in messages.
pub(crate) fn state_name(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "is queued",
        JobState::Running => "runs",
        JobState::Done => "is done",
        JobState::Failed => "failed",
        JobState::Cancelled => "was cancelled",
    }
}

/// The end of a job as the end of a command.
///
/// # Errors
/// [`Exit::Failure`] with the job's cause, unless it has a result.
pub(crate) fn ended(job: &Job) -> Result<()> {
    if job.state == JobState::Done {
        return Ok(());
    }
    let (id, state, cause) = (job.job, state_name(job.state), job.cause.as_deref().unwrap_or("without a cause"));
    let message = format!("job {id} {state}: {cause}; `openledger job retry {id}` queues it again");
    Err(CliError::refused(Exit::Failure, message))
}

/// Prints a job that a verb has changed.
fn changed(job: &Job, json: bool) -> Result<()> {
    if json {
        return print_json(job);
    }
    println!("job {} {}", job.job, state_name(job.state));
    Ok(())
}

/// Prints a job as text.
fn describe(job: &Job) {
    let kind = match job.kind {
        JobKind::Train => "training",
    };
    println!("job       {}, {kind}", job.job);
    println!("state     {}, begun {} times", state_name(job.state), job.attempts);
    if let Some(cause) = &job.cause {
        println!("cause     {}", short(cause, SHOWN));
    }
    if let Some(progress) = &job.progress {
        println!("progress  {}", progress_line(progress));
    }
    if let Some(JobResult::Train(trained)) = &job.result {
        println!("adapter   {}", trained.adapter);
        println!("manifest  {}", trained.manifest_hash);
    }
}

/// Prints the events of a job until it ends, and then its state. A stream that broke, or ended
/// before the job did, is opened again after the last event.
///
/// # Errors
/// [`Exit::Failure`] when the job ends without a result; [`Exit::Unavailable`] after
/// [`ATTEMPTS_MAX`] streams in a row without a new event; the call's own error when it is not
/// transient, or when no event came yet.
async fn follow(client: &Client, id: u64, json: bool, pause: Duration) -> Result<()> {
    let (mut seen, mut attempts) = (None, 0);
    loop {
        let before = seen;
        let reason = match until_end(client, id, &mut seen, json).await {
            Ok(Some(job)) => {
                if !json {
                    println!("job {id} {}", state_name(job.state));
                }
                return ended(&job);
            }
            Ok(None) => "the stream of events ended before the job".to_owned(),
            Err(error) if seen.is_none() || !error.is_transient() => return Err(error),
            // The node stopped, or the connection was cut.
            Err(error) => with_causes(&error),
        };
        attempts = if seen == before { attempts + 1 } else { 0 };
        if attempts >= ATTEMPTS_MAX {
            let last = seen.map_or_else(|| "no event came".to_owned(), |seq| format!("the last event is {seq}"));
            let message = format!(
                "job {id} gave no new event in {attempts} attempts, {last}: {reason}; `openledger job show {id}` \
                 prints its state"
            );
            return Err(CliError::refused(Exit::Unavailable, message));
        }
        tokio::time::sleep(pause).await;
    }
}

/// Prints events until the node ends their stream; returns the job if it has ended.
async fn until_end(client: &Client, id: u64, seen: &mut Option<u64>, json: bool) -> Result<Option<Job>> {
    let mut events = client.follow_job(id, *seen).await?;
    while let Some(event) = events.next().await? {
        *seen = Some(event.seq);
        if json {
            println!("{}", serde_json::to_string(&event)?);
        } else {
            println!("{}", event_line(&event));
        }
    }
    let job = client.job(id).await?;
    Ok(job.state.is_final().then_some(job))
}

/// An event as a line of text: its number, and what happened.
fn event_line(event: &JobEvent) -> String {
    let what = match &event.event {
        JobEventKind::State { state, cause: None } => state_name(*state).to_owned(),
        JobEventKind::State { state, cause: Some(cause) } => format!("{}: {}", state_name(*state), short(cause, SHOWN)),
        JobEventKind::Progress(progress) => progress_line(progress),
        JobEventKind::Log { line, .. } => short(line, SHOWN),
    };
    format!("{:>4}  {what}", event.seq)
}

/// Progress in words: steps, loss, speed.
fn progress_line(progress: &JobProgress) -> String {
    let mut line = format!("step {} of {}", progress.step, progress.steps);
    if let Some(loss) = progress.loss_micro {
        line.push_str(&format!(", loss {}", nats(loss)));
    }
    if let Some(speed) = progress.tokens_per_s {
        line.push_str(&format!(", {speed} tokens/s"));
    }
    line
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use axum::extract::State;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::get;
    use axum::{Json, Router};
    use serde_json::{Value, json};

    use super::{ATTEMPTS_MAX, Client, Exit, event_line, follow};

    /// Pause between two attempts in tests.
    const PAUSE: Duration = Duration::from_millis(1);

    /// One server-sent event of job 7.
    fn sent(seq: u64, mut event: Value) -> String {
        event["seq"] = seq.into();
        event["job"] = 7.into();
        event["time"] = 1.into();
        format!("id: {seq}\ndata: {event}\n\n")
    }

    /// The stream of job 7 breaks off after its second event and ends after the third.
    async fn events(headers: HeaderMap) -> String {
        match headers.get("last-event-id").map(|after| after.as_bytes()) {
            None => {
                sent(1, json!({ "type": "state", "state": "running", "cause": null }))
                    + &sent(2, json!({ "type": "progress", "step": 1, "steps": 2 }))
            }
            Some(b"2") => sent(3, json!({ "type": "state", "state": "failed", "cause": "no memory" })),
            Some(after) => panic!("the stream was opened after {after:?}"),
        }
    }

    /// Job 7 runs when it is read first, and has failed later.
    async fn job(State(reads): State<Arc<AtomicU64>>) -> Json<Value> {
        let has_failed = reads.fetch_add(1, Ordering::Relaxed) > 0;
        Json(job_in(if has_failed { "failed" } else { "running" }))
    }

    /// Job 7 in a state.
    fn job_in(state: &str) -> Value {
        json!({
            "job": 7, "kind": "train", "state": state, "attempts": 1,
            "cause": (state == "failed").then_some("no memory"),
            "progress": null, "result": null, "created": 1, "ended": null,
        })
    }

    async fn breaking_node() -> Client {
        let router = Router::new()
            .route("/api/v1/jobs/7/events", get(events))
            .route("/api/v1/jobs/7", get(job))
            .with_state(Arc::new(AtomicU64::new(0)));
        served(router).await
    }

    async fn served(router: Router) -> Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Client::new(&format!("http://{address}")).unwrap()
    }

    /// A node whose job 7 runs until `ends` events came. The count of opened streams decides about
    /// each stream: one more event, none, or a status of error.
    async fn silent_node(
        ends: u64,
        stream: impl Fn(u64) -> Result<bool, StatusCode> + Clone + Send + Sync + 'static,
    ) -> (Client, Arc<AtomicU64>) {
        let (opened, sent_events) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (count, sent_count) = (Arc::clone(&opened), Arc::clone(&sent_events));
        let events = move || {
            let (stream, count, sent_count) = (stream.clone(), Arc::clone(&count), Arc::clone(&sent_count));
            async move {
                if !stream(count.fetch_add(1, Ordering::Relaxed) + 1)? {
                    return Ok::<String, StatusCode>(String::new());
                }
                let seq = sent_count.fetch_add(1, Ordering::Relaxed) + 1;
                Ok(sent(seq, json!({ "type": "progress", "step": seq, "steps": 99 })))
            }
        };
        let job = move || {
            let has_failed = sent_events.load(Ordering::Relaxed) >= ends;
            async move { Json(job_in(if has_failed { "failed" } else { "running" })) }
        };
        let router = Router::new().route("/api/v1/jobs/7/events", get(events)).route("/api/v1/jobs/7", get(job));
        (served(router).await, opened)
    }

    #[tokio::test]
    async fn streams_without_a_new_event_are_opened_a_bounded_number_of_times() {
        let most = u64::from(ATTEMPTS_MAX);
        // The streams end, or the node refuses them for now.
        for rest in [Ok(false), Err(StatusCode::SERVICE_UNAVAILABLE)] {
            let (client, opened) = silent_node(9, move |at| if at == 1 { Ok(true) } else { rest }).await;
            let error = follow(&client, 7, false, PAUSE).await.unwrap_err();
            assert_eq!(error.exit(), Exit::Unavailable);
            assert!(error.to_string().contains("job 7 gave no new event"), "{error}");
            assert!(error.to_string().contains("the last event is 1"), "{error}");
            assert_eq!(opened.load(Ordering::Relaxed), 1 + most);
        }
        let (client, opened) = silent_node(9, |_| Ok(false)).await;
        let error = follow(&client, 7, false, PAUSE).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Unavailable);
        assert!(error.to_string().contains("no event came"), "{error}");
        assert_eq!(opened.load(Ordering::Relaxed), most);
    }

    #[tokio::test]
    async fn a_new_event_allows_as_many_attempts_again() {
        let most = u64::from(ATTEMPTS_MAX);
        let (client, opened) = silent_node(3, move |at| Ok(at.is_multiple_of(most))).await;
        let error = follow(&client, 7, false, PAUSE).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Failure, "{error}");
        assert_eq!(opened.load(Ordering::Relaxed), 3 * most);
    }

    #[tokio::test]
    async fn a_broken_stream_is_followed_from_its_last_event_and_a_failure_is_a_failure() {
        let error = follow(&breaking_node().await, 7, false, PAUSE).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Failure);
        assert!(error.to_string().contains("job 7 failed: no memory"), "{error}");
    }

    #[tokio::test]
    async fn a_node_that_does_not_answer_is_not_waited_for() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = Client::new(&format!("http://{closed}")).unwrap();
        assert_eq!(follow(&client, 7, false, PAUSE).await.unwrap_err().exit(), Exit::Unavailable);
    }

    #[test]
    fn events_are_lines_with_their_numbers() {
        let line = |event: Value| event_line(&serde_json::from_value(event).unwrap());
        let progress = json!({ "seq": 4, "job": 7, "time": 1, "type": "progress", "step": 3, "steps": 9,
            "loss_micro": 1_500_000 });
        assert_eq!(line(progress), "   4  step 3 of 9, loss 1.5000");
        let state = json!({ "seq": 5, "job": 7, "time": 1, "type": "state", "state": "done", "cause": null });
        assert_eq!(line(state), "   5  is done");
    }
}
