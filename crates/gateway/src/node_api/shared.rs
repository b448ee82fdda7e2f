//! What all handlers of a node's faces share.

use std::sync::Arc;

use openledger_node::Node;

/// Largest body of a request, in bytes: a file of records.
pub(super) const BODY_MAX: usize = 64 << 20;

/// The node, as handlers hold it.
pub(super) type Shared = Arc<Node>;
