#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::outbox::samples;
use crate::secret::Secret;

const NOW_US: i64 = 1_700_000_001_000_000;

fn read(body: &[u8], limits: &Limits) -> Result<Vec<Result<Event, Rejected>>, BadBatch> {
    let found = parse(body, &Headers::default(), NOW_US, limits, None)?;
    Ok(found.into_iter().map(|parsed| parsed.map(|parsed| parsed.event)).collect())
}

fn take(body: &str) -> Vec<Result<Event, Rejected>> {
    read(body.as_bytes(), &Limits::default()).unwrap()
}

fn one(body: &str) -> Event {
    let [event] = take(body).try_into().unwrap();
    event.unwrap()
}

#[test]
fn an_event_has_all_its_fields_under_all_their_names() {
    let expected = Event {
        time_us: 1_700_000_000_500_000,
        received_us: NOW_US,
        name: "view_item".to_owned(),
        subject: Some("u-1".to_owned()),
        session: Some("s-1".to_owned()),
        item: Some("sku-1".to_owned()),
        decision_id: Some("0190a0f2-7e1c-7abc-8def-0123456789ab".parse().unwrap()),
        message_id: Some("m-1".to_owned()),
        properties: r#"{"price":9.5}"#.to_owned(),
        joined: None,
    };
    let snake = r#"{"event":"view_item","timestamp":"2023-11-14T22:13:20.5Z","subject":"u-1","session":"s-1","item":"sku-1",
        "decision_id":"0190a0f2-7e1c-7abc-8def-0123456789ab","message_id":"m-1","properties":{"price":9.5}}"#;
    let camel = r#"{"name":"view_item","time":"2023-11-14T23:13:20.5+01:00","userId":"u-1","sessionId":"s-1","itemId":"sku-1",
        "decisionId":"0190a0f2-7e1c-7abc-8def-0123456789ab","messageId":"m-1","properties":{"price":9.5},"context":{"ip":"::1"}}"#;
    assert_eq!(one(snake), expected);
    assert_eq!(one(camel), expected);
}

#[test]
fn what_is_left_out_or_null_is_none() {
    let event = one(r#" {"event":"e","subject":null,"properties":null,"timestamp":null} "#);
    assert_eq!((event.time_us, event.subject, event.properties.as_str()), (NOW_US, None, "{}"));
}

#[test]
fn a_batch_may_be_an_array_or_an_object_with_one() {
    assert_eq!(take("[]").len(), 0);
    assert_eq!(take(r#"[{"event":"a"},{"event":"b"}]"#).len(), 2);
    assert_eq!(take(r#"{"batch":[{"event":"a"}],"sentAt":"2023-11-14T22:13:20Z"}"#).len(), 1);
    assert_eq!(take(r#"{"b\u0061tch":[{"event":"a"}]}"#).len(), 1, "an escaped key is the same key");
}

#[test]
fn escapes_are_read_and_line_breaks_between_tokens_go() {
    let event = one("{\"event\":\"caf\\u00e9 \\\"x\\\"\",\"properties\":{\r\n\"a\":\n\"b\\nc\"}}");
    assert_eq!(event.name, "café \"x\"");
    assert_eq!(event.properties, "{  \"a\": \"b\\nc\"}");
}

#[test]
fn one_wrong_event_is_rejected_and_the_rest_is_taken() {
    let check = |event: &str, code: RejectCode, field: Option<&str>| {
        let found = take(&format!(r#"[{{"event":"a"}},{event},{{"event":"b"}}]"#));
        assert!(found[0].is_ok() && found[2].is_ok(), "{event}");
        let rejected = found[1].as_ref().unwrap_err();
        assert_eq!((rejected.index, rejected.code, rejected.field), (1, code, field), "{event}: {rejected}");
        assert!(!rejected.message.is_empty());
    };
    check("7", RejectCode::NotAnObject, None);
    check("[]", RejectCode::NotAnObject, None);
    check("{}", RejectCode::MissingField, Some("event"));
    check(r#"{"event":""}"#, RejectCode::MissingField, Some("event"));
    check(r#"{"event":null}"#, RejectCode::MissingField, Some("event"));
    check(r#"{"event":"a","name":"b"}"#, RejectCode::DuplicateField, Some("event"));
    check(r#"{"event":"a","subject":"x","user_id":"x"}"#, RejectCode::DuplicateField, Some("subject"));
    check(r#"{"event":5}"#, RejectCode::WrongType, Some("event"));
    check(r#"{"event":"a","subject":7}"#, RejectCode::WrongType, Some("subject"));
    check(r#"{"event":"a","properties":[]}"#, RejectCode::WrongType, Some("properties"));
    check(r#"{"event":"a","timestamp":1700000000}"#, RejectCode::WrongType, Some("timestamp"));
    check(r#"{"event":"a","timestamp":"yesterday"}"#, RejectCode::BadTime, Some("timestamp"));
    check(r#"{"event":"a","sentAt":"today"}"#, RejectCode::BadTime, Some("sentAt"));
    check(r#"{"event":"a","timestamp":"2023-09-01T00:00:00Z"}"#, RejectCode::TooOld, Some("timestamp"));
    check(r#"{"event":"$other"}"#, RejectCode::ReservedName, Some("event"));
    check(r#"{"event":"a","decisionId":"7"}"#, RejectCode::BadId, Some("decision_id"));
    check(r#"{"event":"a\u0000b"}"#, RejectCode::BadText, Some("event"));
    check(r#"{"event":"a","item":"\ud800"}"#, RejectCode::BadText, Some("item"));
    check(&format!(r#"{{"event":"{}"}}"#, "x".repeat(129)), RejectCode::TooLong, Some("event"));
    check(&format!(r#"{{"event":"a","messageId":"{}"}}"#, "x".repeat(257)), RejectCode::TooLong, Some("message_id"));
    let large = format!(r#"{{"event":"a","properties":{{"x":"{}"}}}}"#, "y".repeat(32 * 1024));
    check(&large, RejectCode::EventTooLarge, None);
    let deep = format!(r#"{{"event":"a","properties":{{"x":{}{}}}}}"#, "[".repeat(32), "]".repeat(32));
    check(&deep, RejectCode::TooDeep, Some("properties"));
    let not_deep = format!(r#"{{"event":"a","properties":{{"x":"{}"}}}}"#, "[".repeat(100));
    assert_eq!(one(&not_deep).name, "a", "brackets in a text do not nest");
}

#[test]
fn a_body_that_is_no_batch_is_refused_whole() {
    let limits = Limits { event_bytes: 100, batch_bytes: 1000, events: 3, ..Limits::default() };
    let check = |body: &[u8], code: BatchCode, limit: Option<usize>| {
        let bad = read(body, &limits).unwrap_err();
        assert_eq!((bad.code, bad.limit), (code, limit), "{bad}");
    };
    check(b"", BatchCode::InvalidJson, None);
    check(b"7", BatchCode::InvalidJson, None);
    check(b"{\"event\":", BatchCode::InvalidJson, None);
    check(b"[{\"event\":\"a\"},]", BatchCode::InvalidJson, None);
    check(b"[{\"event\":\"a\"}] x", BatchCode::InvalidJson, None);
    check(b"{\"batch\":7}", BatchCode::InvalidJson, None);
    check(b"[{\"event\":\"\xff\"}]", BatchCode::InvalidUtf8, None);
    check(&[b' '; 1001], BatchCode::BodyTooLarge, Some(1000));
    check(b"[1,2,3,4]", BatchCode::TooManyEvents, Some(3));
    check(b"{}\n{}\n{}\n{}\n", BatchCode::TooManyEvents, Some(3));
    check(b"{\"batch\":[],\"sentAt\":\"today\"}", BatchCode::BadTime, None);
    check(b"{\"batch\":[],\"sentAt\":7}", BatchCode::BadTime, None);
    assert!(read(b"[1,2,3]", &limits).is_ok());
}

// Half a megabyte of brackets must neither overflow the stack nor take long.
#[test]
fn deep_json_is_refused_without_harm() {
    for body in ["[".repeat(400_000), format!("[{}", "{\"a\":".repeat(80_000)), "{\"properties\":".repeat(30_000)] {
        assert!(read(body.as_bytes(), &Limits::default()).is_err());
    }
    let nested = format!("[{}{}]", "[".repeat(200_000), "]".repeat(200_000));
    assert!(take(&nested)[0].is_err());
}

#[test]
fn rewards_have_a_lane_of_their_own() {
    assert_eq!(one(r#"{"event":"$reward"}"#).lane(), Lane::Rewards);
    assert_eq!(one(r#"{"event":"reward"}"#).lane(), Lane::Events);
}

use crate::outbox::Lane;

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        read(&body, &Limits::default()).ok();
    }

    #[test]
    fn any_json_like_text_is_taken_or_refused(body in r#"[\[\]{}:,"a-f\\u0-9 \n]{0,120}|\{"event":[\[\]{}:,"a-f\\u0-9 \n]{0,60}\}"#) {
        for event in read(body.as_bytes(), &Limits::default()).unwrap_or_default().into_iter().flatten() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&event.properties).is_ok());
            prop_assert!(!event.properties.contains('\n'));
        }
    }

    #[test]
    fn texts_come_through_unchanged(name in "[^\\p{Cc}$][^\\p{Cc}]{0,29}") {
        let body = serde_json::to_vec(&serde_json::json!({ "event": name, "properties": { "k": name } })).unwrap();
        let mut events = read(&body, &Limits::default()).unwrap();
        let event = events.remove(0).unwrap();
        prop_assert_eq!(&event.name, &name);
        let properties: serde_json::Value = serde_json::from_str(&event.properties).unwrap();
        prop_assert_eq!(properties["k"].as_str(), Some(name.as_str()));
    }
}

/// Once a purchase was refused with its token, and who paid after two weeks had paid nothing.
#[test]
fn what_shows_its_token_too_late_is_taken_without_the_decision() {
    let record = samples::record(1);
    let choice = record.choices.first().unwrap();
    let item = &record.candidates[choice.candidate as usize];
    let tokens = Tokens::new(Secret::new(&[1; 32]), 1_000_000);
    let token = tokens.mint(&record, choice).to_string();
    let told =
        |name: &str| json!({"event": name, "decision_id": record.id.to_string(), "item": &**item, "token": token});
    let body = json!([told("purchase"), told("$reward"), {"event": "page_view"}]).to_string();
    let read = |after_us| {
        let now_us = record.time_us + after_us;
        parse(body.as_bytes(), &Headers::default(), now_us, &Limits::default(), Some(&tokens)).unwrap()
    };
    let taken = |found: &Result<Parsed, Rejected>| {
        found.as_ref().ok().map(|parsed| (parsed.event.decision_id, parsed.expired.is_some()))
    };
    let in_time = read(0);
    let whole = Some((Some(record.id), false));
    assert_eq!(in_time.iter().map(taken).collect::<Vec<_>>(), [whole, whole, Some((None, false))]);
    let [purchase, reward, view] = read(3_000_000).try_into().unwrap();
    assert_eq!(taken(&purchase), Some((None, true)), "the purchase counts, and is nobody's merit");
    assert_eq!(purchase.unwrap().event.item.as_deref(), Some(&**item));
    assert_eq!(reward.unwrap_err().code, RejectCode::ExpiredToken, "of a reward nothing is left");
    assert_eq!(taken(&view), Some((None, false)));
}
