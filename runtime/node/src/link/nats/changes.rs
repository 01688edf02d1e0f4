//! A small bucket, read on: what its keys became since it was read last. For those who ask every second and keep what they know.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use bytes::Bytes;

use super::NatsLink;
use super::releases::{CoreError, failed};

/// A key and its value; `None` when it is gone.
pub(super) type Change = (String, Option<Bytes>);

// === impl NatsLink ===

impl NatsLink {
    /// What a small bucket's keys became behind its number `after`, `None` for one that is gone, and its last number. All of it when
    /// the bucket was made anew since; nothing when it is not there.
    pub(super) async fn changes(&self, bucket: &str, after: u64) -> Result<(Vec<Change>, u64), CoreError> {
        let stream = match self.jetstream().get_stream(format!("KV_{bucket}")).await {
            Ok(stream) => stream,
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(answer) if answer.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    return Ok((Vec::new(), 0));
                }
                _ => return Err(failed(format!("look at bucket {bucket}"), &error)),
            },
        };
        let state = &stream.cached_info().state;
        let (last, after) = (state.last_sequence, if state.last_sequence < after { 0 } else { after });
        if state.messages == 0 || last == after {
            return Ok((Vec::new(), last));
        }
        let read = tokio::time::timeout(self.config().timeout, self.changes_behind(bucket, after)).await;
        let (changes, read_to) = read.map_err(|_| CoreError::Failed {
            what: format!("read bucket {bucket}"),
            why: "what its state tells of does not come".to_owned(),
        })??;
        Ok((changes, read_to.max(last)))
    }

    async fn changes_behind(&self, bucket: &str, after: u64) -> Result<(Vec<Change>, u64), CoreError> {
        let mut changes = Vec::new();
        let mut following = self.follow_slots(bucket, Some(after).filter(|after| *after > 0)).await?;
        loop {
            for message in following.next().await? {
                changes.push((message.key, message.json));
                if message.waiting == 0 {
                    return Ok((changes, message.seq));
                }
            }
        }
    }
}
