//! The end of a node's server: the notice that ends endless streams, and the time that open
//! requests have. **Invariant:** a notice that was given stays given.

use std::time::Duration;

use tokio::sync::watch;

/// How long open requests may go on after the server stopped accepting new ones.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Whether the server shuts down. A stream without an end of its own ends by it.
#[derive(Clone, Debug)]
pub(super) struct ShutdownNotice(watch::Receiver<bool>);

impl ShutdownNotice {
    /// A notice, and the sender that gives it.
    pub(super) fn new() -> (watch::Sender<bool>, Self) {
        let (give, given) = watch::channel(false);
        (give, Self(given))
    }

    /// Whether it was given.
    pub(super) fn is_given(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is given.
    pub(super) async fn given(&mut self) {
        let lost = self.0.wait_for(|given| *given).await.is_err();
        if lost {
            // The sender is gone without a notice: nothing shuts down.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until open requests have had their time.
    pub(super) async fn drained(mut self) {
        self.given().await;
        tokio::time::sleep(DRAIN_MAX).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_notice_outlives_its_sender() {
        let (give, mut notice) = ShutdownNotice::new();
        assert!(!notice.is_given());
        give.send_replace(true);
        drop(give);
        notice.given().await;
        assert!(notice.is_given());
    }
}
