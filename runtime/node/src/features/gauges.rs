//! Gauges that are looked up when somebody asks: how many entities, how many bytes, how late. Owns nothing.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::features::{Features, ViewStatus};

/// A name, its help, and its value for one view.
type Gauge = (&'static str, &'static str, fn(&ViewStatus) -> i64);

#[derive(Debug)]
struct Gauges {
    features: Features,
}

// === impl Features ===

impl Features {
    /// Registers everything the flow counts and measures, under `selvedge_features_…`.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics().register(registry);
        registry.register_collector(Box::new(Gauges { features: self.clone() }));
    }
}

impl std::fmt::Debug for Features {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Features").finish_non_exhaustive()
    }
}

// === impl Gauges ===

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let status = self.features.status();
        let gauges: [Gauge; 8] = [
            ("selvedge_features_entities", "Entities held", |view| view.entities as i64),
            ("selvedge_features_absent", "Entities of an on-demand view known to have no row", |view| {
                view.absent as i64
            }),
            ("selvedge_features_bytes", "Bytes held in memory", |view| view.bytes as i64),
            ("selvedge_features_lag_ms", "Milliseconds since proven current; -1 for never", |view| {
                view.lag_ms.map_or(-1, |lag_ms| lag_ms as i64)
            }),
            ("selvedge_features_synced", "1 when the view was ever complete", |view| i64::from(view.synced)),
            ("selvedge_features_behind", "Sequences between applied and the stream's last", |view| {
                view.last_seq.saturating_sub(view.applied_seq) as i64
            }),
            ("selvedge_features_disk_waiting", "Entities with a change that is not on disk yet", |view| {
                view.disk_waiting as i64
            }),
            ("selvedge_features_disk_behind_ms", "Milliseconds the oldest change not on disk has waited", |view| {
                view.disk_behind_ms as i64
            }),
        ];
        for (name, help, value) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for view in &status {
                let labels = [("view", view.view.as_str()), ("sync", if view.on_demand { "on-demand" } else { "all" })];
                ConstGauge::new(value(view)).encode(family.encode_family(&labels)?)?;
            }
        }
        let symbols = self.features.symbols();
        let (known, refused) = (symbols.len() as i64, symbols.refused() as i64);
        for (name, help, value) in [
            ("selvedge_features_symbols", "Texts that have a number", known),
            ("selvedge_features_symbols_refused", "Texts that got none, because a limit was reached", refused),
        ] {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}
