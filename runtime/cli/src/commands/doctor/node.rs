//! What the node itself says, if one runs here: reasons it is not well, and events it does not know.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::Check;

/// How long the node may take; it answers at once or not at all.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an answer.
const MAX_ANSWER: u64 = 4 << 20;
/// Unknown events that are named.
const NAMED: usize = 5;

pub(super) fn checks(admin: SocketAddr) -> Vec<Check> {
    match status(admin) {
        Ok(status) => vec![readiness(admin, &status), unknown(&status)],
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            vec![Check::ok("node", format!("none runs at {admin}"))]
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

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// What `/v1/status` of the admin listener says.
fn status(admin: SocketAddr) -> io::Result<Value> {
    let mut stream = TcpStream::connect_timeout(&admin, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET /v1/status HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let head_bytes = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(|| bad("no HTTP"))?;
    if !answer.starts_with(b"HTTP/1.1 200 ") {
        return Err(bad("GET /v1/status is not answered with 200"));
    }
    // Its length is known when it is written: it does not come in chunks.
    serde_json::from_slice(&answer[head_bytes + 4..]).map_err(|error| bad(&format!("no JSON: {error}")))
}

#[cfg(test)]
mod tests {
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
    fn a_node_that_is_not_there_is_no_fault() -> io::Result<()> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        drop(listener);
        let checks = checks(address);
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].to_string(), format!("ok    node        none runs at {address}"));
        Ok(())
    }
}
