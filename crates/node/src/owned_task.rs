//! A task that ends with its owner, such as the heartbeat of a lease.

use tokio::task::JoinHandle;

/// A running task; it is aborted when this is dropped.
pub(crate) struct OwnedTask(JoinHandle<()>);

impl OwnedTask {
    /// Starts a task.
    pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }
}

impl Drop for OwnedTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}
