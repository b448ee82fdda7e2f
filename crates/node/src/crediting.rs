//! What answers rest on, computed here or by a worker elsewhere.

use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use openledger_protocol::{Completion, Credits, Params};

use crate::base::Base;
use crate::error::Result;
use crate::metrics::{Metrics, micros_since};
use crate::models::Offered;

/// Finds the credits of an answer.
pub trait Crediting: Send + Sync {
    /// The records that `completion`, an answer of `model`, rests on, by the governed numbers
    /// `params`.
    ///
    /// # Errors
    /// [`crate::NodeError::Credit`] for an answer that is not the model's.
    fn credit<'a>(
        &'a self,
        model: &'a Arc<Offered>,
        completion: &'a Completion,
        params: &'a Arc<Params>,
    ) -> BoxFuture<'a, Result<Credits>>;
}

/// Crediting by the engine in this process.
pub struct LocalCrediting {
    base: Arc<Base>,
    metrics: Arc<Metrics>,
}

impl LocalCrediting {
    pub(crate) fn new(base: Arc<Base>, metrics: Arc<Metrics>) -> Self {
        Self { base, metrics }
    }
}

impl Crediting for LocalCrediting {
    fn credit<'a>(
        &'a self,
        model: &'a Arc<Offered>,
        completion: &'a Completion,
        params: &'a Arc<Params>,
    ) -> BoxFuture<'a, Result<Credits>> {
        Box::pin(async move {
            let (base, model, completion) = (Arc::clone(&self.base), Arc::clone(model), completion.clone());
            let params = Arc::clone(params);
            let started = Instant::now();
            let credits = tokio::task::spawn_blocking(move || {
                model.attributor.credit(&completion, Some((&base.model, &model.lora)), &params)
            })
            .await??;
            Metrics::add(&self.metrics.credit_micros, micros_since(started));
            Ok(credits)
        })
    }
}
