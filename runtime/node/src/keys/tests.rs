#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

const HOUR_US: i64 = 3_600_000_000;

fn server(name: &str, scopes: &[Scope]) -> (Line, String) {
    let line = ServerLine {
        name: name.into(),
        sha256: Digest([0; 32]),
        scopes: scopes.to_vec(),
        created: None,
        expires: None,
    };
    Line::server(line).unwrap()
}

fn page(name: &str, origins: &[&str], rate: f64, burst: u32) -> Line {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    let line = PublishableLine {
        name: name.into(),
        key: String::new(),
        origins: texts(origins),
        placements: texts(&["home"]),
        rate,
        burst,
        created: None,
        expires: None,
    };
    Line::publishable(line).unwrap()
}

fn key(line: &Line) -> &str {
    match line {
        Line::Publishable(line) => &line.key,
        Line::Server(_) => "",
    }
}

fn expires_at(line: &mut Line, us: TimeUs) {
    let time = Some(Time::from_us(us));
    match line {
        Line::Publishable(line) => line.expires = time,
        Line::Server(line) => line.expires = time,
    }
}

/// Access by a file of these lines, and the file.
fn access(lines: &[&Line]) -> (Access, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(file.path(), text).unwrap();
    (Access::open(Some(file.path()), Clock::new()).unwrap(), file)
}

fn message<T>(denied: Result<T, Denied>) -> String {
    denied.err().map(|denied| denied.to_string()).unwrap_or_default()
}

#[test]
fn a_server_key_opens_what_its_scopes_name() {
    let (line, secret) = server("checkout", &[Scope::Decide]);
    let (mut old, old_secret) = server("checkout", &[Scope::Decide]);
    expires_at(&mut old, Clock::new().now_us() - HOUR_US);
    let (access, _file) = access(&[&old, &line]);
    assert_eq!(access.server(Some(&secret), Scope::Decide), Ok(()));
    let check = |secret: Option<&str>, scope, expected: &str| {
        let message = message(access.server(secret, scope));
        assert!(message.contains(expected), "{message:?}, expected {expected:?}");
    };
    check(Some(&secret), Scope::Events, "has no scope \"events\", only decide");
    check(Some(&secret), Scope::Admin, "has no scope \"admin\"");
    check(Some(&old_secret), Scope::Decide, "expired at 20");
    check(None, Scope::Decide, "no key: send a server key");
    check(Some(""), Scope::Decide, "no such key");
    check(Some(&secret[..secret.len() - 1]), Scope::Decide, "no such key");
    check(Some(&line.digest().hex()), Scope::Decide, "no such key");
    check(Some("pk_x"), Scope::Decide, "/v1/browser/ alone");
    assert_eq!(Access::default().server(None, Scope::Admin), Ok(()), "without keys everybody may");
    assert_eq!(access.name(Some(&secret)).as_deref(), Some("checkout"));
    assert_eq!(
        (access.name(Some("sk_x")), access.name(None), Access::default().name(Some(&secret))),
        (None, None, None)
    );
    let shown = format!("{access:?} {:?}", access.watched().unwrap().get());
    assert!(!shown.contains(&secret[3..]), "a secret shows itself");
}

#[test]
fn a_publishable_key_is_for_its_pages_and_placements() {
    let line = page("web", &["https://shop.example"], 100.0, 100);
    let every = page("every", &["*"], 100.0, 100);
    let mut gone = page("gone", &["*"], 100.0, 100);
    expires_at(&mut gone, 1);
    let (access, _file) = access(&[&line, &every, &gone]);
    let caller = access.page(Some(key(&line)), Some("https://shop.example")).unwrap().unwrap();
    assert!(caller.allows("home") && !caller.allows("cart") && !caller.is_of_all());
    assert!(access.page(Some(key(&line)), None).is_ok(), "no browser sends none to a foreign origin");
    assert!(access.page(Some(key(&every)), Some("null")).unwrap().unwrap().is_of_all());
    let check = |key: Option<&str>, origin, expected: &str| {
        let message = message(access.page(key, origin));
        assert!(message.contains(expected), "{message:?}, expected {expected:?}");
    };
    for foreign in ["http://shop.example", "https://shop.example:8443", "https://shop.example.evil", "null"] {
        check(Some(key(&line)), Some(foreign), "does not allow pages of");
    }
    check(Some(key(&line)), Some("http://shop.example"), "add the origin");
    check(Some(key(&line)), Some("null"), "such as sandboxed ones, are allowed by \"*\"");
    check(Some(key(&gone)), None, "expired at 1970");
    check(None, None, "?key=pk_");
    check(Some("pk_other"), None, "no such key");
    check(Some("sk_secret"), None, "revoke it");
    assert!(Access::default().page(None, Some("https://any.example")).unwrap().is_none());
}

#[test]
fn a_key_keeps_its_rate_when_the_file_is_read_again() {
    let mut line = page("web", &["*"], 0.01, 2);
    let metrics = Metrics::default();
    let read = |line: &Line, before| Keys::read(line.to_string().as_bytes(), before, &metrics).unwrap();
    let take = |keys: &Keys| keys.pages.values().next().unwrap().check(None, 0).map_err(|(_, denied)| denied);
    let first = read(&line, None);
    assert_eq!((take(&first), take(&first)), (Ok(()), Ok(())));
    assert!(matches!(take(&first), Err(Denied::Rate { wait, .. }) if wait > Duration::from_secs(90)));
    let again = read(&line, Some(&first));
    assert!(take(&again).is_err(), "reading the file again fills no bucket");
    // The file was without the key for a moment, and for another.
    let other = page("other", &["*"], 1.0, 1);
    let gone = read(&other, Some(&again));
    let without = read(&other, Some(&gone));
    assert!(take(&read(&line, Some(&without))).is_err(), "a key that comes back has what it had left");
    if let Line::Publishable(line) = &mut line {
        line.burst = 3;
    }
    assert_eq!(take(&read(&line, Some(&again))), Ok(()), "another rate is another bucket");
}

/// `> keys.jsonl`, or a copy of which the half is there, locked everybody out.
#[test]
fn a_file_that_lost_its_keys_changes_nothing() {
    let metrics = Metrics::default();
    let (line, _) = server("ops", &[Scope::Admin]);
    let web = page("web", &["https://shop.example"], 1.0, 1);
    let whole = format!("# keys\n{line}\n{web}\n");
    let before = Keys::read(whole.as_bytes(), None, &metrics).unwrap();
    for text in ["", "\n\n", "# keys\n"] {
        assert!(Keys::read(text.as_bytes(), None, &metrics).is_ok(), "a new file has no key yet");
        assert_eq!(Keys::read(text.as_bytes(), Some(&before), &metrics).unwrap_err(), BadKeys::NoneLeft, "{text:?}");
    }
    // Cut off within a line, wherever that is.
    for end in 1..whole.len() - 1 {
        let cut = &whole[..end];
        let is_whole = whole[end..].starts_with('\n') || cut.ends_with('\n');
        let read = Keys::read(cut.as_bytes(), Some(&before), &metrics);
        assert_eq!(read.is_ok(), is_whole && cut.contains("ops"), "{cut:?}");
    }
}

/// Names of a file that was not taken stood in the metrics for ever.
#[test]
fn a_file_that_is_wrong_is_counted_nowhere() {
    let (metrics, mut text) = (Metrics::default(), String::new());
    let (first, _) = server("first", &[Scope::Admin]);
    let before = Keys::read(first.to_string().as_bytes(), None, &metrics).unwrap();
    let (other, _) = server("other", &[Scope::Admin]);
    let twice = Keys::read(format!("{other}\n{first}\n{first}\n").as_bytes(), Some(&before), &metrics);
    assert!(matches!(twice, Err(BadKeys::Twice { .. })));
    let mut registry = prometheus_client::registry::Registry::default();
    metrics.register(&mut registry);
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("key=\"first\"") && !text.contains("other"), "{text}");
}

#[test]
fn a_file_says_which_line_is_wrong() {
    let check = |text: &str, expected: &str| {
        let message = Keys::read(text.as_bytes(), None, &Metrics::default()).unwrap_err().to_string();
        assert!(message.contains(expected), "{text:?} gave {message:?}, expected {expected:?}");
    };
    let (line, _) = server("a", &[Scope::Admin]);
    let good = line.to_string();
    assert_eq!(
        Keys::read(format!("# ops\n\n{good}\n").as_bytes(), None, &Metrics::default()).unwrap().servers.len(),
        1
    );
    check(&format!("{good}\n{good}"), "line 2: the same key as in line 1");
    check("\nx", "line 2: is no key");
    check("{\"server\":{\"name\":\"a\"", "line 1: is no key");
    check(&good.replace("\"a\"", "\"a b\""), "name \"a b\": expected 1 to 64");
    check(&good.replace("admin", "root"), "unknown variant `root`");
    check(&good.replace("[\"admin\"]", "[]"), "scopes: a key without any");
    check(&good.replace("\"sha256\":\"", "\"sha256\":\"0"), "64 hex digits");
    check(&good.replace("\"name\"", "\"nmae\""), "unknown field `nmae`");
    let web = page("web", &["https://shop.example"], 1.5, 7).to_string();
    assert_eq!(web.parse::<Line>().unwrap().to_string(), web, "read back as written");
    for origin in
        ["shop.example", "https://shop.example/", "https://Shop.example", "https://", "https://a b", "ftp://a"]
    {
        check(&web.replace("https://shop.example", origin), "is no origin such as");
    }
    for (origin, hint) in [
        ("https://shop.example:443", "say \"https://shop.example\""),
        ("http://localhost:80", "say \"http://localhost\""),
        ("https://[::1]:443", "say \"https://[::1]\""),
    ] {
        check(&web.replace("https://shop.example", origin), hint);
    }
    for origin in ["https://shop.example:8443", "http://shop.example:443", "https://shop.example:80", "http://[::80]"] {
        let line = web.replace("https://shop.example", origin).parse::<Line>();
        assert!(line.is_ok(), "{origin}: {line:?}");
    }
    check(&web.replace("1.5", "0.001"), "rate: 0.001 requests a second");
    check(&web.replace(":7", ":0"), "burst: 0 requests");
    check(&web.replace("[\"home\"]", "[]"), "placements: 0 of them");
    check(&web.replace("pk_", "sk_"), "key: expected pk_");
    check(&format!("{good}\n").repeat(MAX_KEYS + 1), "has 1001 keys");
}
