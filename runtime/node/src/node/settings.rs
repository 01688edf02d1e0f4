//! From the settings, as the operator says them, to what each flow takes. Owns which setting becomes which; wires nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use selvedge_decision::Epoch;
use selvedge_host::HostConfig;

use super::StartError;
use crate::api::{self, Limits, ServeConfig};
use crate::clock::Clock;
use crate::config::{self, Config, LinkKind, duration};
use crate::events;
use crate::features::symbols::SymbolLimits;
use crate::features::{FeaturesConfig, SightLimits};
use crate::link::{Link, LocalLink, NatsConfig, NatsLink};
use crate::outbox::OutboxConfig;
use crate::releases::{Operator, ReleasesConfig};
use crate::sessions::SessionsConfig;
use crate::telemetry::otlp::OtlpConfig;

pub(super) fn tls(setting: &'static str, tls: &config::Tls) -> Result<Option<Arc<api::Tls>>, StartError> {
    let files = said(&tls.certificate).zip(said(&tls.key));
    let open = files.map(|(certificate, key)| api::open_tls(setting, &certificate, &key));
    open.transpose().map_err(StartError::Doors)
}

pub(super) async fn link(config: &Config, clock: &Clock) -> Result<Link, StartError> {
    Ok(match config.link.kind {
        LinkKind::Nats => {
            let nats = &config.link.nats;
            let settings = NatsConfig {
                url: nats.url.clone(),
                credentials: said(&nats.credentials),
                ca: said(&nats.ca),
                prefix: nats.prefix.clone(),
                domain: nats.domain.clone(),
                name: config.node.name.to_string(),
                timeout: duration(nats.timeout),
            };
            Link::Nats(NatsLink::connect(settings, clock).await.map_err(|why| StartError::Link(why.to_string()))?)
        }
        LinkKind::Local => {
            let local = &config.link.local;
            let out = if local.out.as_os_str().is_empty() { local.directory.join("out") } else { local.out.clone() };
            Link::Local(Arc::new(LocalLink::new(local.directory.clone(), out, clock)))
        }
    })
}

pub(super) fn operator(config: &Config, clock: &Clock) -> Result<Option<Operator>, StartError> {
    let path = said(&config.console.operator_key);
    let open = path.map(|path| Operator::open(&path, config.node.trust.iter().cloned(), clock.clone()));
    open.transpose().map_err(StartError::Operator)
}

/// A path that is not empty.
pub(super) fn said(path: &Path) -> Option<PathBuf> {
    Some(path.to_owned()).filter(|path| !path.as_os_str().is_empty())
}

pub(super) fn limits(config: &Config) -> Limits {
    Limits {
        decide_body: config.http.max_decide_body.bytes(),
        batch: config.http.max_batch,
        page_rows: config.http.max_page_rows.bytes(),
        events: events::Limits {
            event_bytes: config.outbox.max_event.bytes(),
            batch_bytes: config.http.max_events_body.bytes(),
            events: config.outbox.max_batch,
            max_age_us: config.events.max_age.us(),
        },
        client_timeout: duration(config.http.client_timeout),
    }
}

pub(super) fn serve_config(config: &Config) -> ServeConfig {
    ServeConfig {
        max_connections: config.http.max_connections,
        client_timeout: duration(config.http.client_timeout),
        stop_within: duration(config.node.stop_within) / 4,
    }
}

pub(super) fn features_config(config: &Config) -> FeaturesConfig {
    let features = &config.features;
    FeaturesConfig {
        dir: config.node.data.join("features"),
        write_behind: duration(features.write_behind),
        max_pending: features.max_pending,
        max_pending_bytes: features.max_pending_bytes.bytes(),
        max_scratch_bytes: features.max_scratch.bytes() as u64,
        disk_cache_bytes: features.disk_cache.bytes() as u64,
        symbols: SymbolLimits {
            symbols: u32::try_from(features.max_symbols).unwrap_or(u32::MAX - 1),
            ..SymbolLimits::default()
        },
        max_row_bytes: features.max_row.bytes(),
        max_entities: features.max_entities,
        max_view_bytes: features.max_view.bytes() as u64,
        on_demand_bytes: features.on_demand.bytes() as u64,
        sights: SightLimits {
            fetches: features.max_fetches,
            absent: features.max_absent,
            absent_us: features.absent_for.us(),
        },
        prove_every: duration(features.prove_every),
        poll_every: duration(features.poll_every),
    }
}

pub(super) fn sessions_config(config: &Config) -> SessionsConfig {
    let keep = duration(config.sessions.keep);
    SessionsConfig {
        max_sessions: config.sessions.max,
        keep_us: i64::try_from(keep.as_micros()).unwrap_or(i64::MAX),
        keep_slots: true,
        share: config.sessions.share,
        max_entities: config.features.max_entities as usize,
        max_bytes: config.features.max_view.bytes(),
        core: config.link.kind == LinkKind::Nats,
    }
}

pub(super) fn outbox_config(config: &Config) -> OutboxConfig {
    let outbox = &config.outbox;
    OutboxConfig {
        dir: config.node.data.join("outbox"),
        rewards_bytes: outbox.max_rewards.bytes() as u64,
        decisions_bytes: outbox.max_decisions.bytes() as u64,
        events_bytes: outbox.max_events.bytes() as u64,
        segment_bytes: outbox.segment.bytes() as u64,
        block_bytes: outbox.block.bytes(),
        record_delay: duration(outbox.group),
        resting_records: outbox.max_resting,
        resting_bytes: outbox.max_resting_bytes.bytes(),
        window: outbox.window,
        window_bytes: outbox.window_bytes.bytes(),
        ack_timeout: duration(outbox.ack_timeout),
        retry_after_s: duration(outbox.retry_after).as_secs().max(1),
        compression: outbox.compression,
        dedupe_ids: config.events.dedupe_ids,
    }
}

pub(super) fn otlp_config(config: &Config) -> OtlpConfig {
    let otlp = &config.telemetry.otlp;
    OtlpConfig {
        endpoint: otlp.endpoint.clone(),
        share: otlp.share,
        max_queue: otlp.max_queue,
        node: config.node.name.to_string(),
    }
}

pub(super) fn host_config(config: &Config) -> HostConfig {
    HostConfig {
        cache_dir: Some(config.node.data.join("code")),
        max_cache_bytes: config.modules.code_cache.bytes() as u64,
        max_memory_bytes: config.modules.max_memory.bytes(),
        max_output_bytes: config.modules.max_output.bytes(),
        instances: config.modules.instances,
    }
}

pub(super) fn releases_config(config: &Config, epoch: Epoch) -> ReleasesConfig {
    let limits = selvedge_build::release::Limits {
        max_total_bytes: config.releases.max_size.bytes() as u64,
        ..selvedge_build::release::Limits::default()
    };
    ReleasesConfig {
        dir: config.node.data.join("releases"),
        channel: config.node.channel.clone(),
        trust: config.node.trust.clone(),
        limits,
        read_every: duration(config.releases.poll_every),
        fetch_timeout: duration(config.releases.fetch_timeout),
        keep_files: config.releases.keep,
        report_every: duration(config.releases.report_every),
        labels: config.node.labels.clone(),
        node: config.node.name.clone(),
        epoch,
    }
}
