//! Spans and events on their way: how many were made, taken to be sent, and let go of because too many waited. The library drops what
//! finds no room and tells nobody; here it is known before it is made.

use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// How many of a kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Items {
    made: Counter,
    /// Taken out of the queue, whatever became of them.
    taken: Counter,
    /// Of those, the ones that the collector did not take.
    unsent: Counter,
    dropped: Counter,
}

/// An exporter whose work is counted.
#[derive(Debug)]
pub(super) struct Counted<E> {
    exporter: E,
    items: Items,
}

// === impl Items ===

impl Items {
    /// Makes them visible at `/metrics`.
    pub(super) fn register(&self, what: &str, registry: &mut Registry) {
        let mut counter = |name: &str, help: String, counter: &Counter| {
            registry.register(format!("selvedge_otlp_{what}{name}"), help, counter.clone());
        };
        counter("", format!("The {what} made to be sent by OTLP"), &self.made);
        counter("_unsent", format!("The {what} that the collector did not take"), &self.unsent);
        counter("_dropped", format!("The {what} that were not made because too many waited to be sent"), &self.dropped);
    }

    /// Counts one more, if fewer than `most` wait.
    pub(super) fn has_room(&self, most: u64) -> bool {
        let has_room = self.made.get().saturating_sub(self.taken.get()) < most;
        if has_room {
            self.made.inc()
        } else {
            self.dropped.inc()
        };
        has_room
    }

    fn took(&self, count: usize, sent: &OTelSdkResult) {
        self.taken.inc_by(count as u64);
        if sent.is_err() {
            self.unsent.inc_by(count as u64);
        }
    }
}

// === impl Counted ===

impl<E> Counted<E> {
    pub(super) fn new(exporter: E, items: &Items) -> Self {
        Self { exporter, items: items.clone() }
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let sent = self.exporter.export(batch).await;
        self.items.took(count, &sent);
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Counted<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let count = batch.iter().count();
        let sent = self.exporter.export(batch).await;
        self.items.took(count, &sent);
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
