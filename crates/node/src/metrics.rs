//! Counters for `/metrics`, in the Prometheus text format.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! metrics {
    ($($name:ident = $metric:literal, $help:literal;)*) => {
        /// What is counted since the start.
        #[derive(Default)]
        pub(crate) struct Metrics {
            $(#[doc = $help] pub(crate) $name: AtomicU64,)*
        }
        impl Metrics {
            /// The exposition.
            #[must_use]
            pub(crate) fn text(&self) -> String {
                let mut text = String::new();
                $(
                    let value = self.$name.load(Ordering::Relaxed);
                    text.push_str(concat!("# HELP ", $metric, " ", $help, "\n# TYPE ", $metric, " counter\n"));
                    text.push_str(&format!(concat!($metric, " {}\n"), value));
                )*
                text
            }
        }
    };
}

metrics! {
    requests = "openledger_http_requests_total", "HTTP requests answered.";
    errors = "openledger_http_errors_total", "HTTP requests answered with a status of 400 or more.";
    answers = "openledger_answers_total", "Answers given and receipted.";
    tokens_in = "openledger_tokens_in_total", "Tokens of prompts.";
    tokens_out = "openledger_tokens_out_total", "Tokens of answers.";
    answer_micros = "openledger_answer_micros_total", "Microseconds spent generating answers.";
    credit_micros = "openledger_credit_micros_total", "Microseconds spent on attribution.";
}

impl Metrics {
    /// Adds `amount` to a counter.
    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}

/// Microseconds since `started`.
pub(crate) fn micros_since(started: std::time::Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}
