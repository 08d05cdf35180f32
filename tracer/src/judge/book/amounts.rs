//! Connections, failures and bytes. Pure.

/// Amounts of some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    pub connections: u64,
    pub failures: u64,
    /// Bytes that went out and came in.
    pub sent: u64,
    pub received: u64,
}

impl Amounts {
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            connections: self.connections.saturating_sub(earlier.connections),
            failures: self.failures.saturating_sub(earlier.failures),
            sent: self.sent.saturating_sub(earlier.sent),
            received: self.received.saturating_sub(earlier.received),
        }
    }

    pub(super) fn at_least(&self, other: &Self) -> Self {
        Self {
            connections: self.connections.max(other.connections),
            failures: self.failures.max(other.failures),
            sent: self.sent.max(other.sent),
            received: self.received.max(other.received),
        }
    }

    /// Adds what came since.
    pub fn add(&mut self, more: &Self) {
        self.connections = self.connections.saturating_add(more.connections);
        self.failures = self.failures.saturating_add(more.failures);
        self.sent = self.sent.saturating_add(more.sent);
        self.received = self.received.saturating_add(more.received);
    }

    /// Connections, failures, bytes sent and received.
    #[must_use]
    pub fn array(&self) -> [u64; 4] {
        [self.connections, self.failures, self.sent, self.received]
    }

    /// The same, for adding up what is moved to and fro.
    pub(super) fn signed(&self) -> [i64; 4] {
        self.array().map(|amount| i64::try_from(amount).unwrap_or(i64::MAX))
    }
}
