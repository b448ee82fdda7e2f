//! One step of many sequences: the rows of all of them through the model together.
//!
//! Place in the flow: what the scheduler of `serving` calls again and again, with one row for each
//! sequence that writes and some rows of prompts. Invariant: a sequence's logits are the bits it
//! would get alone, whatever is beside it. Slots that share an adapter should stand side by side:
//! they are then multiplied together. Not here: which sequences run when.

use crate::error::RunError;
use crate::forward::{Slot, Workspace, forward, head};
use crate::matrix::Matrix;
use crate::model::Model;

/// Runs sequences together, each with its own cache and adapter.
pub struct Batch<'m> {
    model: &'m Model,
    ws: Workspace,
    last: Vec<f32>,
    logits: Vec<f32>,
    /// Runs others between two layers of a step; made when it is first needed.
    inner: Option<Box<Batch<'m>>>,
}

impl<'m> Batch<'m> {
    /// Buffers for `model`.
    pub fn new(model: &'m Model) -> Self {
        Self { model, ws: Workspace::default(), last: Vec::new(), logits: Vec::new(), inner: None }
    }

    /// Appends every slot's tokens to its cache; logits `[slots, vocab]` after each slot's last
    /// token.
    ///
    /// # Errors
    ///
    /// [`RunError`] when any slot cannot be run; then no sequence has grown.
    pub fn step(&mut self, slots: &mut [Slot<'_>]) -> Result<Matrix, RunError> {
        let wanted = vec![true; slots.len()];
        let logits = self.step_wanted(slots, &wanted, &mut |_| ())?.to_vec();
        Ok(Matrix::new(slots.len(), self.model.config().vocab, logits))
    }

    /// As [`Batch::step`], with logits `[wanted slots, vocab]` only where `wanted` says so: a
    /// prompt that is not at its end needs none.
    ///
    /// `between` is called before each layer and before the logits, with a batch in which it may
    /// run other sequences meanwhile: whoever must not wait for a long step waits for a layer of
    /// it. Nothing of that shows in the results.
    ///
    /// # Errors
    ///
    /// As [`Batch::step`].
    pub fn step_wanted(
        &mut self,
        slots: &mut [Slot<'_>],
        wanted: &[bool],
        between: &mut dyn FnMut(&mut Batch<'m>),
    ) -> Result<&[f32], RunError> {
        let (model, rt) = (self.model, self.model.runtime());
        let inner = self.inner.get_or_insert_with(|| Box::new(Batch::new(model)));
        forward(model, rt, slots, &mut self.ws, None, &mut || between(inner))?;
        between(inner);
        let (h, v) = (model.config().hidden, model.config().vocab);
        self.last.clear();
        let mut end = 0;
        for (slot, wanted) in slots.iter().zip(wanted) {
            end += slot.tokens.len();
            if *wanted {
                self.last.extend_from_slice(&self.ws.hidden()[(end - 1) * h..end * h]);
            }
        }
        self.logits.resize(self.last.len() / h * v, 0.0);
        if !self.last.is_empty() {
            head(model, rt, &self.last, &mut self.logits);
        }
        Ok(&self.logits)
    }
}
