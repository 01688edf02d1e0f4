//! What the core has for a node: a server that is new enough, JetStream, a clock like ours, and the project's buckets.

use std::time::Duration;

use selvedge_build::channel::Pointer;
use selvedge_node::clock::Clock;
use selvedge_node::link::{NatsConfig, NatsLink};

use super::Check;
use crate::core::connect;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The first server with TTL markers, without which a row that expired is not noticed.
const SERVER: (i64, i64, i64) = (2, 11, 0);

pub(super) async fn checks(config: &NatsConfig, channel: &str) -> Vec<Check> {
    let url = config.url_for_people();
    let nats = match connect(config.clone(), CONNECT_TIMEOUT).await {
        Ok(nats) => nats,
        Err(error) => {
            let advice = "start the server, or set link.nats.url; a node with a full store decides without it";
            return vec![Check::fail("nats", error.to_string(), advice)];
        }
    };
    let mut checks = vec![version(&nats.server_version(), nats.server_is_at_least(SERVER), &url)];
    match nats.jetstream_account().await {
        Ok(found) => checks.push(Check::ok("jetstream", found)),
        Err(error) => {
            checks.push(Check::fail(
                "jetstream",
                error.to_string(),
                "start nats-server with -js, or enable it for this account",
            ));
            return checks;
        }
    }
    checks.push(bucket(&nats, "events", &config.events_stream(), "the first node creates it").await);
    let channels = format!("KV_{}", config.channels_bucket());
    checks.push(bucket(&nats, "channels", &channels, "the first `selvedge deploy` creates it").await);
    let releases = format!("OBJ_{}", config.releases_store());
    checks.push(bucket(&nats, "releases", &releases, "the first `selvedge deploy` creates it").await);
    checks.push(bucket(&nats, "nodes", &format!("KV_{}", config.nodes_bucket()), "the first node creates it").await);
    checks.push(pointer(&nats, channel).await);
    checks
}

fn version(found: &str, is_new_enough: bool, url: &str) -> Check {
    let told = format!("{url}: nats-server {found}");
    match is_new_enough {
        true => Check::ok("nats", told),
        false => Check::fail("nats", told, "2.11 or newer is needed: rows that expire are not noticed before it"),
    }
}

async fn bucket(nats: &NatsLink, check: &'static str, stream: &str, who: &str) -> Check {
    match nats.has_stream(stream).await {
        Ok(true) => Check::ok(check, stream),
        Ok(false) => Check::warn(check, format!("{stream} is not there yet"), who),
        Err(error) => Check::fail(check, error.to_string(), "give this user the right to read it"),
    }
}

async fn pointer(nats: &NatsLink, channel: &str) -> Check {
    let advice = format!("`selvedge deploy … --to {channel}`");
    match nats.read_channel(channel).await {
        Ok(Some(value)) => match Pointer::read(channel, &value.bytes) {
            Ok(pointer) if pointer.expires_us <= Clock::new().now_us() => {
                Check::fail("channel", format!("{channel} expired"), advice)
            }
            Ok(pointer) => Check::ok("channel", format!("{channel} points to {}", pointer.release)),
            Err(bad) => Check::fail("channel", bad.to_string(), advice),
        },
        Ok(None) => Check::warn("channel", format!("{channel} has no pointer yet"), advice),
        Err(error) => Check::fail("channel", error.to_string(), "give this user the right to read it"),
    }
}
