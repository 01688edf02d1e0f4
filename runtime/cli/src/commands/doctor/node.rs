//! What the node itself says, if one runs here: reasons it is not well, and events it does not know.

use std::io;
use std::net::SocketAddr;

use selvedge_decision::TimeUs;
use selvedge_node::clock::Clock;
use selvedge_node::events::rfc3339;
use serde_json::Value;

use super::Check;
use crate::admin::AdminListener;

/// Hours that an outbox should hold.
const ENOUGH_HOURS: f64 = 24.0;
/// Unknown events that are named.
const NAMED: usize = 5;

pub(super) fn checks(listener: &AdminListener) -> Vec<Check> {
    let admin = listener.address;
    match listener.get("/v1/status") {
        Ok(status) => vec![readiness(admin, &status), unknown(&status), outage(&status, Clock::new().now_us())],
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            vec![Check::ok("node", format!("none runs at {admin}"))]
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            vec![Check::warn("node", format!("one runs at {admin}"), error.to_string())]
        }
        Err(error) => {
            let advice = "http.admin should be the admin listener of the node on this machine";
            vec![Check::warn("node", format!("{admin} does not answer as a node does: {error}"), advice)]
        }
    }
}

fn readiness(admin: SocketAddr, status: &Value) -> Check {
    let found = format!("{} at {admin} is {}", text(&status["node"]), text(&status["ready"]["status"]));
    let reasons = status["ready"]["reasons"].as_array().into_iter().flatten();
    let reasons: Vec<_> =
        reasons.map(|reason| format!("{}: {}", text(&reason["code"]), text(&reason["detail"]))).collect();
    if reasons.is_empty() { Check::ok("node", found) } else { Check::warn("node", found, reasons.join("; ")) }
}

fn unknown(status: &Value) -> Check {
    let unknown = status["unknown_events"].as_array().map_or(&[][..], Vec::as_slice);
    if unknown.is_empty() {
        return Check::ok("events", "none that the release does not list");
    }
    let mut named: Vec<_> =
        unknown.iter().take(NAMED).map(|event| format!("{} ({})", text(&event["event"]), event["count"])).collect();
    if unknown.len() > NAMED {
        named.push(format!("{} more names", unknown.len() - NAMED));
    }
    let advice = "they are taken all the same; add them to `events` in features.toml, or mend the tracker";
    Check::warn("events", format!("the release does not list {}", named.join(", ")), advice)
}

/// How long an outage of the core the outbox holds: of each lane what room it has, over the bytes an hour that went into it
/// since the node started.
fn outage(status: &Value, now_us: TimeUs) -> Check {
    let started_us = rfc3339::parse(text(&status["started"])).unwrap_or(now_us);
    let ran_hours = (now_us - started_us).max(1) as f64 / 3.6e9;
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let lanes = status["outbox"]["lanes"].as_array().map_or(&[][..], Vec::as_slice);
    let used = lanes.iter().filter(|lane| number(&lane["stored_bytes"]) > 0.0);
    let hours: Vec<(&str, f64)> = used
        .map(|lane| {
            let room = (number(&lane["limit_bytes"]) - number(&lane["backlog_bytes"])).max(0.0);
            (text(&lane["lane"]), room * ran_hours / number(&lane["stored_bytes"]))
        })
        .collect();
    let Some((lane, least)) = hours.iter().copied().min_by(|(_, a), (_, b)| a.total_cmp(b)) else {
        return Check::ok("outage", "nothing was told yet, so how long the outbox holds is not known");
    };
    let each: Vec<String> = hours.iter().map(|(lane, hours)| format!("{lane} {hours:.0} h")).collect();
    let found = format!("the outbox holds {least:.0} hours without the core, at the pace so far ({})", each.join(", "));
    if least < ENOUGH_HOURS {
        return Check::warn("outage", found, format!("raise outbox.max_{lane}, on a disk that has the room"));
    }
    Check::ok("outage", found)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use selvedge_node::config::Layers;
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_events_are_named_up_to_a_few() {
        let check = |events: Value, expected: &str| {
            assert_eq!(unknown(&json!({ "unknown_events": events })).to_string(), expected);
        };
        check(json!([]), "ok    events      none that the release does not list");
        let advice = "they are taken all the same; add them to `events` in features.toml, or mend the tracker";
        let one = |at: u32| json!({"event": format!("e-{at}"), "count": 9 - at});
        let found = "e-0 (9), e-1 (8), e-2 (7), e-3 (6), e-4 (5), 2 more names";
        let all = (0..7).map(one).collect::<Vec<_>>().into();
        check(all, &format!("warn  events      the release does not list {found} -> {advice}"));
    }

    #[test]
    fn an_outage_is_as_long_as_the_lane_that_is_full_first() {
        let lane = |lane: &str, stored: u64, backlog: u64| json!({"lane": lane, "stored_bytes": stored, "backlog_bytes": backlog, "limit_bytes": 1_000});
        let status = |events: u64| {
            json!({"started": "2026-03-01T10:00:00Z", "outbox": {"lanes": [
            lane("rewards", 0, 0), lane("decisions", 10, 500), lane("events", events, 0)]}})
        };
        let two_hours_later = rfc3339::parse("2026-03-01T12:00:00Z").unwrap_or_default();
        let check = |status: Value, expected: &str| assert_eq!(outage(&status, two_hours_later).to_string(), expected);
        let found = "the outbox holds 100 hours without the core, at the pace so far (decisions 100 h, events 200 h)";
        check(status(10), &format!("ok    outage      {found}"));
        let found = "the outbox holds 2 hours without the core, at the pace so far (decisions 100 h, events 2 h)";
        check(
            status(1_000),
            &format!("warn  outage      {found} -> raise outbox.max_events, on a disk that has the room"),
        );
        let nothing = "nothing was told yet, so how long the outbox holds is not known";
        check(json!({}), &format!("ok    outage      {nothing}"));
    }

    #[test]
    fn a_node_that_is_not_there_is_no_fault() -> io::Result<()> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        drop(listener);
        let mut config = Layers::new().and_then(Layers::finish).map_err(io::Error::other)?;
        config.http.admin = address;
        let checks = checks(&AdminListener::new(&config, None));
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].to_string(), format!("ok    node        none runs at {address}"));
        Ok(())
    }
}
