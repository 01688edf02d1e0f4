//! Records of decisions that pages made: checked, then appended beside the node's own. Owns what is refused and why; a record is
//! taken as its page sent it, so that a replay gives the same bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use selvedge_decision::Record;
use selvedge_decision::page::BadRecord;
use serde::Serialize;

use super::Allowed;
use crate::decide::Decider;
use crate::ids::{Ids, Kind};
use crate::outbox;

/// The most records of one request.
const MOST_RECORDS: usize = 100;
/// The largest record, in bytes.
const MOST_BYTES: usize = 64 << 10;
/// How far a page's clock may be ahead of this node's, in microseconds: it goes by that of the node that gave it its rows.
const AHEAD_US: i64 = 300_000_000;

/// A record that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RejectedRecord {
    /// Its index among those sent.
    pub index: usize,
    /// A stable code.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// What became of records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TakenRecords {
    /// Records that are on disk now.
    pub accepted: u64,
    /// Records of which copies are on disk already.
    pub duplicates: u64,
    /// Records that were not taken, and why; the rest was.
    pub rejected: Vec<RejectedRecord>,
}

/// Why none is taken.
#[derive(Debug, thiserror::Error)]
pub enum BadRecords {
    /// Too many at once.
    #[error("{found} records, at most {MOST_RECORDS}")]
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// The outbox takes none.
    #[error(transparent)]
    Outbox(#[from] outbox::Refused),
}

// === impl BadRecords ===

impl BadRecords {
    /// The most records of one request.
    pub const MOST: usize = MOST_RECORDS;
}

// === impl Decider ===

impl Decider {
    /// Takes records that a page sent, each in base64, no older than `max_age_us`. `ids` says what an id looks like behind the door.
    ///
    /// # Errors
    ///
    /// When none was taken because there is no room, or because there are too many.
    pub async fn take_page_records(
        &self,
        sent: &[impl AsRef<str>],
        allowed: &Allowed,
        ids: &Ids,
        max_age_us: i64,
    ) -> Result<TakenRecords, BadRecords> {
        if sent.len() > MOST_RECORDS {
            return Err(BadRecords::TooMany { found: sent.len() });
        }
        let (mut records, mut rejected) = (Vec::with_capacity(sent.len()), Vec::new());
        for (index, text) in sent.iter().enumerate() {
            match self.page_record(text.as_ref(), allowed, ids, max_age_us) {
                Ok(record) => records.push(record),
                Err((code, message)) => rejected.push(RejectedRecord { index, code, message }),
            }
        }
        let count = records.len() as u64;
        let duplicates = self.outbox.append_page_records(records).await?;
        let taken = TakenRecords { accepted: count - duplicates, duplicates, rejected };
        self.metrics.took_page_records(&taken);
        Ok(taken)
    }

    fn page_record(
        &self,
        text: &str,
        allowed: &Allowed,
        ids: &Ids,
        max_age_us: i64,
    ) -> Result<Record, (&'static str, String)> {
        let refuse = |code: &'static str, why: String| Err((code, why));
        if text.len() > MOST_BYTES.div_ceil(3) * 4 {
            return refuse("too_large", format!("a record has at most {MOST_BYTES} bytes"));
        }
        let bytes = STANDARD.decode(text).map_err(|error| ("bad_record", format!("not base64: {error}")))?;
        let record = Record::from_bytes(&bytes).map_err(|error| ("bad_record", error.to_string()))?;
        let now_us = self.clock.now_us();
        if record.time_us > now_us.saturating_add(AHEAD_US) {
            return refuse("bad_time", "decided in the future".into());
        }
        if record.time_us < now_us.saturating_sub(max_age_us) {
            return refuse("too_old", "decided longer ago than events may be (events.max_age)".into());
        }
        let people = [(&record.subject, Kind::Subject), (&record.session, Kind::Session)];
        if people.iter().any(|(id, kind)| id.as_ref().is_some_and(|id| ids.known_as(*kind, id) != id.as_str())) {
            return refuse("bad_record", "its subject or session is not as this node's pages know them".into());
        }
        let Some(form) = self.form(record.release) else {
            return refuse("unknown_release", "its release neither runs here nor did lately".into());
        };
        if allowed.as_ref().is_some_and(|allowed| !allowed.contains(&*record.placement)) {
            return refuse("not_for_browsers", "its placement is none of this key's".into());
        }
        match form.check(&record) {
            Ok(()) => Ok(record),
            Err(bad @ BadRecord::Core(_)) => refuse("other_core", bad.to_string()),
            Err(bad) => refuse("bad_record", bad.to_string()),
        }
    }
}
