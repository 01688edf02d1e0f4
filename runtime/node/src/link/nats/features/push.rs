//! Many rows on their way into buckets: in their order, a bounded number of them not yet acknowledged, what was not goes again.
//! Owns the window; where rows come from and how fast is their sender's.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::publish::PublishAck;
use bytes::Bytes;

use super::{RowError, chain};
use crate::features::entity::key_of;
use crate::link::NatsLink;

/// Rows on their way. What was sent and not acknowledged when it is dropped may be in its bucket or not.
pub struct Pushing<'l> {
    link: &'l NatsLink,
    window: VecDeque<Sent>,
    acknowledged: u64,
}

/// A row that was sent.
struct Sent {
    bucket: String,
    entity: String,
    /// None to delete it.
    row: Option<Bytes>,
    ack: Ack,
}

enum Ack {
    Waiting(Pin<Box<dyn Future<Output = Result<PublishAck, PublishError>> + Send>>),
    Failed(PublishError),
}

/// Rows sent and not yet acknowledged.
const WINDOW: usize = 512;
/// How often a window that was not acknowledged is sent again.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);

// === impl NatsLink ===

impl NatsLink {
    /// Begins to put rows into buckets, which must be there.
    pub fn push_features(&self) -> Pushing<'_> {
        Pushing { link: self, window: VecDeque::with_capacity(WINDOW), acknowledged: 0 }
    }

    /// Puts one row, or deletes it; the answer is the ack to wait for.
    async fn send_row(&self, bucket: &str, entity: &str, row: Option<Bytes>) -> Ack {
        let subject = self.config().of_domain(&format!("$KV.{bucket}.{}", key_of(entity)));
        let sent = match row {
            Some(row) => self.jetstream().publish(subject, row).await,
            None => {
                let mut headers = HeaderMap::new();
                headers.insert("KV-Operation", "DEL");
                self.jetstream().publish_with_headers(subject, headers, Bytes::new()).await
            }
        };
        sent.map_or_else(Ack::Failed, |ack| Ack::Waiting(ack.into_future()))
    }
}

// === impl Pushing ===

impl Pushing<'_> {
    /// Sends a row, or with none deletes it, after as many were acknowledged as the window asks for. When it ends with an
    /// error, or is given up half way, nothing more may be sent: the rows behind the acknowledged ones have to come again.
    pub async fn send(&mut self, view: &str, entity: &str, row: Option<Bytes>) -> Result<(), RowError> {
        let bucket = self.link.bucket_of(view)?;
        if self.window.len() >= WINDOW {
            self.settle_first().await?;
        }
        // What has come meanwhile counts at once, however slowly rows follow each other.
        while self.is_settled() {
            self.settle_first().await?;
        }
        let ack = self.link.send_row(&bucket, entity, row.clone()).await;
        self.window.push_back(Sent { bucket, entity: entity.to_owned(), row, ack });
        Ok(())
    }

    /// Waits until all are acknowledged.
    pub async fn finish(&mut self) -> Result<(), RowError> {
        while !self.window.is_empty() {
            self.settle_first().await?;
        }
        Ok(())
    }

    /// How many rows, from the first on, are in their buckets for good.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Whether the oldest row's answer is there.
    fn is_settled(&mut self) -> bool {
        let Some(first) = self.window.front_mut() else { return false };
        let Ack::Waiting(ack) = &mut first.ack else { return true };
        let mut now = std::task::Context::from_waker(std::task::Waker::noop());
        match ack.as_mut().poll(&mut now) {
            std::task::Poll::Pending => false,
            std::task::Poll::Ready(answer) => {
                first.ack = match answer {
                    Ok(ack) => Ack::Waiting(Box::pin(std::future::ready(Ok(ack)))),
                    Err(error) => Ack::Failed(error),
                };
                true
            }
        }
    }

    /// Waits for the oldest row's acknowledgement. Without one, the whole window goes again, so that of two rows of one
    /// entity the later one stays.
    async fn settle_first(&mut self) -> Result<(), RowError> {
        let mut attempt = 1;
        while let Some(first) = self.window.front_mut() {
            if let Ack::Waiting(ack) = &mut first.ack {
                match ack.await {
                    Ok(_) => {
                        self.window.pop_front();
                        self.acknowledged += 1;
                        return Ok(());
                    }
                    Err(error) => first.ack = Ack::Failed(error),
                }
            }
            let Ack::Failed(error) = &first.ack else { continue };
            if attempt == ATTEMPTS || !worth_another(error) {
                return Err(self.link.row_error("cannot put a row into bucket", &first.bucket, error));
            }
            tracing::warn!(bucket = first.bucket, %error, attempt, "rows were not acknowledged; sending them again");
            attempt += 1;
            tokio::time::sleep(PAUSE).await;
            self.link.connected(self.link.config().timeout).await;
            for sent in &mut self.window {
                sent.ack = self.link.send_row(&sent.bucket, &sent.entity, sent.row.clone()).await;
            }
        }
        Ok(())
    }
}

/// Whether sending again can help: it cannot when the server answered with a no.
fn worth_another(error: &PublishError) -> bool {
    use PublishErrorKind as Kind;
    !matches!(error.kind(), Kind::StreamNotFound | Kind::MaxPayloadExceeded | Kind::WrongLastSequence)
        && !matches!(error.kind(), Kind::Other if chain(error).contains("message size exceeds"))
}
