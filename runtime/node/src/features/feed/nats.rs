//! The feed from a NATS bucket. Owns one session after another: begin where it stood or with everything, apply what comes,
//! prove every second that it is current, begin again when anything is doubtful. Must not name the NATS client: what goes
//! over the wire is `link/nats/features`.

use std::time::Duration;

use tokio::sync::mpsc;

use self::fetch::Refetch;
use crate::features::feed::start::{BucketState, Start};
use crate::features::feed::{FeedLimits, Stops};
use crate::features::metrics::{Interruption, ResyncCause};
use crate::features::shard::Condition;
use crate::features::source::{Position, Source, Standing, Update};
use crate::link::nats::features::follow::{FollowError, Following, Message, Operation};
use crate::link::{LinkState, NatsLink};
use selvedge_decision::TimeUs;

pub(super) mod fetch;

/// Why a session is over.
enum End {
    /// The feed is to stop.
    Stop,
    /// Begin again at once.
    Again,
    /// Begin again after a pause.
    Pause(Duration),
}

/// A look at the bucket while a session runs.
struct Proof {
    /// When it was asked: what it tells is at least as new.
    asked_us: TimeUs,
    bucket: Option<BucketState>,
}

struct Session<'s> {
    source: &'s Source,
    following: Following,
    created_us: TimeUs,
    /// The last sequence applied.
    applied: u64,
    /// The consumer's count of the last message.
    delivered: u64,
    /// Of an on-demand source that may have missed changes: what it holds, on its way to be fetched again.
    refetch: Option<Refetch<'s>>,
    /// Every message there was when the session began has been applied.
    caught_up: bool,
    /// So is everything else: the rows are as the core has them.
    live: bool,
    /// The last proof that failed: stream's last sequence and applied, to see whether anything moves.
    stuck: Option<(u64, u64)>,
}

/// How long to wait for a bucket that is not there.
const MISSING_PAUSE: Duration = Duration::from_millis(500);
/// How long to wait after a request failed.
const ERROR_PAUSE: Duration = Duration::from_millis(500);
/// How often, at most, a view is read again because keys vanished without a word.
const VANISHED_EVERY_US: i64 = 60_000_000;
/// Looks at the bucket that may wait for the session.
const PROOFS: usize = 1;

/// Runs sessions until it is time to stop.
pub(in crate::features) async fn feed(source: &Source, nats: &NatsLink, limits: FeedLimits, stops: &mut Stops) {
    let mut link = nats.state();
    let mut vanished_us = TimeUs::MIN;
    loop {
        let state = link.borrow_and_update().clone();
        let end = match state {
            LinkState::Connected { .. } => tokio::select! {
                end = session(source, nats, limits, &mut vanished_us) => end,
                _ = link.changed() => {
                    source.metrics.interrupted(Interruption::Link);
                    End::Again
                }
                () = source.again() => End::Again,
                () = stops.stopped() => End::Stop,
            },
            LinkState::Down { why, .. } => {
                source.tell(Condition::Waiting, why);
                tokio::select! {
                    _ = link.changed() => End::Again,
                    () = stops.stopped() => End::Stop,
                }
            }
        };
        match end {
            End::Again => {}
            End::Stop => return,
            End::Pause(time) => {
                if !stops.sleep(time).await {
                    return;
                }
            }
        }
    }
}

async fn session(source: &Source, nats: &NatsLink, limits: FeedLimits, vanished_us: &mut TimeUs) -> End {
    match Session::begin(source, nats).await {
        Err(end) => end,
        Ok(mut session) => {
            // Asking for proofs stops with the session: the receiver is dropped with it.
            let (sender, proofs) = mpsc::channel(PROOFS);
            tokio::select! {
                end = session.run(proofs, vanished_us) => end,
                end = ask(source, nats, limits, sender) => end,
            }
        }
    }
}

/// Asks for the bucket's state again and again.
async fn ask(source: &Source, nats: &NatsLink, limits: FeedLimits, proofs: mpsc::Sender<Proof>) -> End {
    loop {
        let asked_us = source.clock.now_us();
        // An answer that does not come proves nothing, and the link tells when it is down.
        if let Ok(bucket) = nats.feature_bucket(&source.name).await
            && proofs.send(Proof { asked_us, bucket }).await.is_err()
        {
            return End::Again;
        }
        tokio::time::sleep(limits.prove_every).await;
    }
}

// === impl Session ===

impl<'s> Session<'s> {
    /// Looks at the bucket and follows it from where that is safe.
    async fn begin(source: &'s Source, nats: &'s NatsLink) -> Result<Self, End> {
        let asked_us = source.clock.now_us();
        let bucket = match nats.feature_bucket(&source.name).await {
            Ok(Some(bucket)) => bucket,
            Ok(None) => return Err(missing(source, asked_us)),
            Err(error) => return Err(failed(source, &error)),
        };
        source.last_seq_is(bucket.last_seq);
        let on_demand = source.sights().is_some();
        let start = match source.standing() {
            Standing::At(position) => Start::decide(position, &bucket, source.proven_us(), asked_us),
            Standing::MustResync(cause) => Start::Everything(cause),
            // What is fetched one by one is not in the order of the stream: there is no going on in the middle.
            Standing::Resyncing(cause, _) if on_demand => Start::Everything(cause),
            Standing::Resyncing(cause, passed) => Start::go_on(cause, passed, &bucket),
        };
        let start = if on_demand { start.or_fetch(&bucket, source.entities()) } else { start };
        let mut refetch = None;
        let after = match start {
            Start::After(seq) => seq,
            Start::Everything(cause) => {
                source.metrics.resync(cause);
                source.begin_resync(cause, if on_demand { 0 } else { usize::try_from(bucket.keys).unwrap_or(0) });
                if on_demand {
                    let held = refetch.insert(Refetch::all(source, nats)).left();
                    tracing::info!(view = source.name, ?cause, held, "fetching again what is held");
                    bucket.last_seq
                } else {
                    tracing::info!(view = source.name, ?cause, keys = bucket.keys, "reading all rows");
                    0
                }
            }
        };
        source.tell(Condition::CatchingUp, format!("from sequence {} to {}", after + 1, bucket.last_seq));
        let following = nats.follow_features(&source.name, after).await.map_err(|error| failed(source, &error))?;
        let created_us = bucket.created_us;
        let mut session = Self {
            source,
            following,
            created_us,
            applied: after,
            delivered: 0,
            refetch,
            caught_up: false,
            live: false,
            stuck: None,
        };
        if session.following.nothing_waits() {
            // All there was is applied: what comes next is later than the state just read.
            session.applied = session.applied.max(bucket.last_seq);
            session.caught_up = true;
            session.reached_the_end().await?;
        }
        Ok(session)
    }

    async fn run(&mut self, mut proofs: mpsc::Receiver<Proof>, vanished_us: &mut TimeUs) -> End {
        loop {
            let end = tokio::select! {
                // Rows first: a proof that finds some of them still unread proves nothing.
                biased;
                messages = self.following.next() => match messages {
                    Ok(messages) => self.apply(messages).await,
                    Err(error) => Err(failed(self.source, &error)),
                },
                Some(proof) = proofs.recv() => self.prove(proof, vanished_us).await,
                fetched = some(&mut self.refetch) => self.refetched(fetched).await,
            };
            if let Err(end) = end {
                return end;
            }
        }
    }

    /// Applies what came, in its order.
    async fn apply(&mut self, messages: Vec<Message>) -> Result<(), End> {
        for message in messages {
            if message.delivered != self.delivered + 1 {
                tracing::warn!(
                    view = self.source.name,
                    seq = message.seq,
                    "messages were lost on the way; reading again"
                );
                self.source.metrics.interrupted(Interruption::Gap);
                return Err(End::Again);
            }
            self.delivered = message.delivered;
            self.applied = message.seq;
            let last = message.waiting == 0;
            self.one(message);
            if last && !self.caught_up {
                self.caught_up = true;
                self.reached_the_end().await?;
            }
        }
        self.source.reached(self.position());
        self.source.room().await;
        Ok(())
    }

    fn one(&self, message: Message) {
        let source = self.source;
        let entity = match message.entity {
            Ok(entity) => entity,
            Err(error) => {
                source.metrics.refused_key.inc();
                tracing::debug!(view = source.name, seq = message.seq, %error, "row refused");
                return;
            }
        };
        let update = match message.operation {
            Operation::Put(row) => Update::Put { row },
            Operation::Delete => Update::Delete,
        };
        let usable = source.change(&entity, update, message.seq, message.stored_us);
        if let Some(event_us) = usable.filter(|_| self.live) {
            let now_us = source.clock.now_us();
            let since = |then_us: TimeUs| now_us.saturating_sub(then_us).max(0) as f64;
            source.metrics.freshness_us.observe(since(event_us));
            source.metrics.delivery_us.observe(since(message.stored_us));
        }
    }

    /// Some of what is held was fetched again.
    async fn refetched(&mut self, fetched: Result<(), FollowError>) -> Result<(), End> {
        if let Err(error) = fetched {
            return Err(failed(self.source, &error));
        }
        if self.refetch.as_ref().is_some_and(|refetch| refetch.left() == 0) {
            self.refetch = None;
            self.reached_the_end().await?;
        }
        Ok(())
    }

    /// Everything there was when the session began is applied, if it is.
    async fn reached_the_end(&mut self) -> Result<(), End> {
        if !self.caught_up || self.refetch.as_ref().is_some_and(|refetch| refetch.left() > 0) {
            return Ok(());
        }
        self.refetch = None;
        if !self.source.end_resync(self.position()).await {
            return Err(End::Again);
        }
        self.live = true;
        self.source.reached(self.position());
        self.source.tell(Condition::Live, "");
        Ok(())
    }

    fn position(&self) -> Position {
        Position { created_us: self.created_us, seq: self.applied }
    }

    /// Compares what was applied with what there is.
    async fn prove(&mut self, proof: Proof, vanished_us: &mut TimeUs) -> Result<(), End> {
        let Some(bucket) = proof.bucket.filter(|bucket| bucket.created_us == self.created_us) else {
            return Err(End::Again);
        };
        self.source.last_seq_is(bucket.last_seq);
        if !self.live || self.applied < bucket.last_seq {
            return self.is_behind(&proof, bucket.last_seq).await;
        }
        self.stuck = None;
        self.source.proven(proof.asked_us);
        // With nothing on the way, every entity must have its key. One without was removed and left no mark.
        let vanished = self.applied == bucket.last_seq && bucket.keys < self.source.entities();
        if vanished && proof.asked_us.saturating_sub(*vanished_us) >= VANISHED_EVERY_US {
            *vanished_us = proof.asked_us;
            self.source.resync(ResyncCause::Vanished);
        }
        Ok(())
    }

    /// The stream's last sequence was not applied, or no message was the last. That is so for a moment while messages are on
    /// the way, and for good when the last messages were removed from the stream before they came here: when nothing moved
    /// between two looks, the consumer's own counts tell.
    async fn is_behind(&mut self, proof: &Proof, last_seq: u64) -> Result<(), End> {
        let moved = self.stuck.replace((last_seq, self.applied)) != Some((last_seq, self.applied));
        if moved {
            return Ok(());
        }
        if self.refetch.is_some() {
            return Ok(());
        }
        let counts = self.following.counts().await.map_err(|error| failed(self.source, &error))?;
        if counts.waiting == 0 && counts.delivered == self.delivered {
            self.applied = self.applied.max(last_seq);
            self.caught_up = true;
            self.reached_the_end().await?;
            self.source.proven(proof.asked_us);
            return Ok(());
        }
        tracing::warn!(view = self.source.name, waiting = counts.waiting, "rows wait but do not come; reading again");
        self.source.metrics.interrupted(Interruption::Stalled);
        Err(End::Again)
    }
}

/// Fetches some of what is held again; waits for ever when nothing has to be.
async fn some(refetch: &mut Option<Refetch<'_>>) -> Result<(), FollowError> {
    match refetch {
        Some(refetch) => refetch.some().await,
        None => std::future::pending().await,
    }
}

/// The bucket is not there. A view without rows is as empty as it should be; one with rows keeps them and is late, until the
/// bucket comes back and tells what is gone.
fn missing(source: &Source, asked_us: TimeUs) -> End {
    source.last_seq_is(0);
    source.proven_empty(asked_us);
    source.tell(Condition::Waiting, "there is no such bucket yet");
    End::Pause(MISSING_PAUSE)
}

fn failed(source: &Source, error: &FollowError) -> End {
    source.metrics.interrupted(Interruption::Error);
    source.tell(Condition::Waiting, error.to_string());
    End::Pause(ERROR_PAUSE)
}
