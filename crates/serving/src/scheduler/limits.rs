//! Bounds of one server: memory, slots, rows a step, and queues.

/// Bounds of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of adapters, keys and values together; never exceeded.
    pub memory_bytes: usize,
    /// Bytes of idle adapters that stay in memory.
    pub idle_adapter_bytes: usize,
    /// Answers that are written at once.
    pub slots: usize,
    /// Overflow slots, each for a tenant that has no answer in the others.
    pub overflow_slots: usize,
    /// Prompt tokens that go into one step.
    pub prefill_rows: usize,
    /// Requests of one tenant that may wait.
    pub queue_per_tenant: usize,
    /// Requests that may wait.
    pub queue: usize,
    /// Tokens that a tenant's turn grants.
    pub quantum: u64,
    /// Adapters that are read or wait to be read at once.
    pub loads: usize,
}

impl Default for Limits {
    /// 1 GiB, 16 answers at once, 64 prompt tokens a step.
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            idle_adapter_bytes: 512 << 20,
            slots: 16,
            overflow_slots: 8,
            prefill_rows: 64,
            queue_per_tenant: 256,
            queue: 4096,
            quantum: 256,
            loads: 8,
        }
    }
}
