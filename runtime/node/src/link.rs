//! The link: how this node reaches the core. Owns the closed choice between NATS and a local directory, and what is known
//! about its state; what travels over it belongs to the flows, each of which adds its own `impl` in a file below.

use std::fmt;
use std::sync::Arc;

use selvedge_decision::TimeUs;
use tokio::sync::watch;

pub mod local;
pub mod nats;

pub use local::LocalLink;
pub use nats::{ConnectError, NatsConfig, NatsLink};

/// How this node reaches the core. Cheap to clone: all clones are one link.
#[derive(Clone)]
pub enum Link {
    /// A NATS server with JetStream.
    Nats(Arc<NatsLink>),
    /// A directory: release, features and events as files. The embedded default.
    Local(Arc<LocalLink>),
}

/// Whether the core can be reached, and since when that is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// It can.
    Connected {
        /// The time of this connection.
        since_us: TimeUs,
    },
    /// It cannot. A node goes on deciding and keeps what it has to tell.
    Down {
        /// The time since when there is none, the start of the process included.
        since_us: TimeUs,
        /// The latest reason, for people.
        why: String,
    },
}

// === impl Link ===

impl Link {
    /// The state as it changes. A change is also told when a connection broke and came back between two looks.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        match self {
            Self::Nats(nats) => nats.state(),
            Self::Local(local) => local.state(),
        }
    }

    /// The kind, as config and metrics name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nats(_) => "nats",
            Self::Local(_) => "local",
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

// === impl LinkState ===

impl LinkState {
    /// Whether the core can be reached.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }

    /// Since when it is as it is.
    pub fn since_us(&self) -> TimeUs {
        match self {
            Self::Connected { since_us } | Self::Down { since_us, .. } => *since_us,
        }
    }
}
