//! Money that is held for running answers, for as long as they run.
//!
//! **Invariant:** a reservation is extended only while its [`Hold`] exists. One whose hold is gone
//! without a charge is released; where the release fails, it runs out with its lease.
//!
//! **Not here:** charges (`answering`), reservations that ran out (`deposits`).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openledger_protocol::{Amount, ChannelId};
use openledger_store::reservations::{NewReservation, ReservationId};
use openledger_store::{Error as StoreError, Store, transact_locked};

use crate::error::Result;
use crate::instance::Instance;

/// The holds of this process. Clones share them.
#[derive(Clone)]
pub(crate) struct Holds {
    store: Store,
    instance: Instance,
    live: Arc<Mutex<BTreeSet<ReservationId>>>,
}

/// Money that is held for one answer. Dropped without a charge, it is given back.
pub struct Hold {
    id: Option<ReservationId>,
    amount: Amount,
    holds: Holds,
}

impl Hold {
    /// What is held, in base units.
    pub(crate) fn amount(&self) -> Amount {
        self.amount
    }

    /// The reservation; the caller charges it.
    pub(crate) fn id(&self) -> Option<ReservationId> {
        self.id
    }

    /// Notes that it was charged.
    pub(crate) fn charged(mut self) {
        if let Some(id) = self.id.take() {
            self.holds.live().remove(&id);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        // From now on nobody extends it, so that it also ends where the release below fails.
        self.holds.live().remove(&id);
        let store = self.holds.store.clone();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = transact_locked!(store, |tx| tx.release(id).await) {
                tracing::warn!(%error, "a reservation could not be released; it ends with its lease");
            }
        });
    }
}

impl Holds {
    pub(crate) fn new(store: Store, instance: Instance) -> Self {
        Self { store, instance, live: Arc::default() }
    }

    fn live(&self) -> MutexGuard<'_, BTreeSet<ReservationId>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves `amount` of a channel until `lease_until`, Unix milliseconds, or longer.
    ///
    /// # Errors
    ///
    /// As [`openledger_store::Tx::reserve`].
    pub(crate) async fn reserve(
        &self,
        channel: ChannelId,
        amount: Amount,
        key: Option<&str>,
        lease_until: u64,
    ) -> Result<Hold> {
        let (holds, key) = (self.clone(), key.map(str::to_owned));
        // A task of its own: a caller that goes away cannot interrupt it between the commit and the
        // hold. Its result is dropped then, and the drop gives the money back.
        let reserving = tokio::spawn(async move {
            let holder = holds.instance.name();
            let new = NewReservation { channel, amount, holder, lease_until, key: key.as_deref() };
            let made = transact_locked!(holds.store, |tx| tx.reserve(&new).await)?;
            holds.live().insert(made.id);
            Ok::<_, StoreError>(Hold { id: Some(made.id), amount, holds: holds.clone() })
        });
        Ok(reserving.await??)
    }

    /// Keeps what is held until `lease_until`, Unix milliseconds.
    ///
    /// # Errors
    ///
    /// [`crate::NodeError::Store`].
    pub(crate) async fn extend(&self, lease_until: u64) -> Result<()> {
        let live: Vec<ReservationId> = self.live().iter().copied().collect();
        self.store.extend_reservations(self.instance.name(), &live, lease_until).await?;
        Ok(())
    }

    /// Gives back what a process of this instance held when it ended.
    ///
    /// # Errors
    ///
    /// [`crate::NodeError::Store`].
    pub(crate) async fn release_earlier(&self) -> Result<()> {
        let holder = self.instance.name();
        transact_locked!(self.store, |tx| tx.release_of_holder(holder).await)?;
        Ok(())
    }
}
