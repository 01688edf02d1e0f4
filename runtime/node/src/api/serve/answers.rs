//! What an HTTP/2 connection answers at once. Owns what its client has to take: the parts that answers are given out in, and since when
//! it takes none. In HTTP/2 an answer waits for a window that its client opens, and the connection itself never stands still.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// Bytes of a part: one is given out when the one before has gone.
const PART: usize = 16 << 10;

/// The answers of one connection. Cheap to clone: all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Answers(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    /// Requests whose answer is not given out to its end.
    count: usize,
    /// Since when there are as many.
    since: Instant,
    next: u64,
    /// Of which a part was given out that has not gone, and since when.
    waiting: BTreeMap<u64, Instant>,
}

/// A request's place among them, until its answer ends.
#[derive(Debug)]
pub(super) struct Place {
    answers: Answers,
    number: u64,
}

/// An answer, given out in parts.
pub(super) struct Answer {
    body: Body,
    /// What is left of what the body gave.
    rest: Bytes,
    place: Place,
}

// === impl Answers ===

impl Answers {
    pub(super) fn new() -> Self {
        let open = Open { count: 0, since: Instant::now(), next: 0, waiting: BTreeMap::new() };
        Self(Arc::new(Mutex::new(open)))
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request came.
    pub(super) fn begin(&self) -> Place {
        let mut open = self.open();
        open.count += 1;
        open.since = Instant::now();
        open.next += 1;
        Place { answers: self.clone(), number: open.next }
    }

    /// Whether nothing of an answer was taken for so long.
    pub(super) fn is_stuck(&self, within: Duration) -> bool {
        self.open().waiting.values().any(|since| since.elapsed() >= within)
    }

    /// Whether there was no request for so long.
    pub(super) fn is_idle(&self, within: Duration) -> bool {
        let open = self.open();
        open.count == 0 && open.since.elapsed() >= within
    }
}

// === impl Place ===

impl Place {
    /// A part was given out, and the one before has gone.
    fn gave(&self) {
        self.answers.open().waiting.insert(self.number, Instant::now());
    }

    /// All that there was has gone.
    fn is_even(&self) {
        self.answers.open().waiting.remove(&self.number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.answers.open();
        open.waiting.remove(&self.number);
        open.count -= 1;
        open.since = Instant::now();
    }
}

// === impl Answer ===

impl Answer {
    pub(super) fn new(body: Body, place: Place) -> Self {
        Self { body, rest: Bytes::new(), place }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Poll::Pending => {
                    // Now it is for the node to go on.
                    this.place.is_even();
                    return Poll::Pending;
                }
                ended => return ended,
            }
        }
        this.place.gave();
        let part = this.rest.split_to(PART.min(this.rest.len()));
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
