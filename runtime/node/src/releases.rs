//! Release in: a channel's pointer is followed, the release it names fetched, verified, staged, journalled and swapped in
//! with one pointer; the one before is kept warm, and a canary may decide for a share of the subjects beside it. Owns which release
//! runs, for whom, and why another does not. What a release is made
//! into is the caller's: see [`Stage`]. Nothing here is on the request path but [`Releases::active`].

mod cache;
mod counts;
mod earned;
mod follow;
mod guard;
mod journal;
mod metrics;
mod operator;
pub mod point;
mod report;
mod status;

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard as Borrowed};
use selvedge_build::channel::{Canary, Labels};
use selvedge_build::release::{Limits, ReleaseFiles};
use selvedge_decision::{Digest, Epoch, NodeId};
use tokio::sync::{mpsc, watch};

pub use self::counts::{Counters, Counts};
pub use self::earned::Earned;
pub use self::follow::Follow;
use self::guard::{CanaryWatch, GuardWatch, Tripped};
pub use self::journal::Quarantine;
pub(crate) use self::journal::write_durably;
pub use self::metrics::Metrics;
pub use self::operator::{BadOperatorKey, Move, Moved, NotMoved, Operator};
pub use self::report::{NodeReport, ReportedDrop, ReportedRefusal, Versions};
pub use self::status::{Refusal, RefusalCode, Running, RunningCanary, Status};
use crate::clock::Clock;
use crate::link::Link;

/// How releases are followed.
#[derive(Debug, Clone)]
pub struct ReleasesConfig {
    /// The folder for release files and the journal.
    pub dir: PathBuf,
    /// The channel to follow; of no meaning to the local link.
    pub channel: String,
    /// Files with the public keys to trust; of no meaning to the local link.
    pub trust: Vec<PathBuf>,
    /// Bounds for a release file.
    pub limits: Limits,
    /// How often the channel is read afresh, beside being watched, and a fetch that failed is tried again.
    pub read_every: Duration,
    /// How long one fetch may take.
    pub fetch_timeout: Duration,
    /// How many release files are kept on disk, the running one and the one before it among them.
    pub keep_files: usize,
    /// How often the node reports itself to the core, beside when something changes.
    pub report_every: Duration,
    /// What is said of this node, by which a canary finds it.
    pub labels: Labels,
    /// This node.
    pub node: NodeId,
    /// This run of it.
    pub epoch: Epoch,
}

/// What a release is made into so that it can run: modules compiled, golden vectors compared, views bound.
pub trait Stage: Send + Sync + 'static {
    /// A release that can run.
    type Active: Send + Sync + 'static;

    /// Makes `release` ready. It is complete and every file is what its digest says; a dropped future must leave nothing
    /// behind.
    fn stage(&self, release: ReleaseFiles) -> impl Future<Output = Result<Arc<Self::Active>, StageError>> + Send;
}

/// Why a release cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// Its definitions are wrong, alone or together.
    #[error("{0}")]
    Contents(String),
    /// A module cannot be loaded.
    #[error("{0}")]
    Module(String),
    /// A golden vector does not come out bit for bit.
    #[error("{0}")]
    Vectors(String),
    /// Something of this node's is not ready; it is tried again.
    #[error("{0}")]
    NotYet(String),
}

/// Why releases cannot be followed at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be used.
    #[error("{}: {error}", dir.display())]
    Dir {
        /// The folder.
        dir: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The channel's name cannot be one.
    #[error("channel {0:?}: a name has 1 to 64 characters of a-z, 0-9 and -")]
    Channel(String),
    /// The local link found no random bytes for its key.
    #[error(transparent)]
    Key(#[from] selvedge_build::keys::BadKey),
}

/// The active release. Cheap to clone: all clones are one.
#[derive(Debug)]
pub struct Releases<A> {
    shared: Arc<Shared<A>>,
}

/// What the request path, the follower and the report share.
#[derive(Debug)]
struct Shared<A> {
    active: ArcSwapOption<A>,
    canary: ArcSwapOption<Beside<A>>,
    previous: ArcSwapOption<A>,
    status: watch::Sender<Arc<Status>>,
    guard: Mutex<Option<GuardWatch>>,
    canary_guard: Mutex<Option<CanaryWatch>>,
    earned: Earned,
    tripped: mpsc::Sender<(Digest, Tripped)>,
    clock: Clock,
    metrics: Metrics,
}

/// A canary, and for whom it decides.
#[derive(Debug)]
struct Beside<A> {
    canary: Canary,
    active: Arc<A>,
}

/// Opens the journal and gives the two halves: what others look at, and the task that follows the link. The task first
/// stages what the journal says ran last, with or without a core. `earned` is to follow the outbox.
pub fn open<S: Stage>(
    config: ReleasesConfig,
    link: Link,
    clock: Clock,
    stage: S,
    earned: Earned,
) -> Result<(Releases<S::Active>, Follow<S>), OpenError> {
    let (tripped, trips) = mpsc::channel(1);
    let shared = Arc::new(Shared {
        active: ArcSwapOption::empty(),
        canary: ArcSwapOption::empty(),
        previous: ArcSwapOption::empty(),
        status: watch::Sender::new(Arc::default()),
        guard: Mutex::new(None),
        canary_guard: Mutex::new(None),
        earned,
        tripped,
        clock,
        metrics: Metrics::default(),
    });
    let follow = Follow::open(config, link, stage, Arc::clone(&shared), trips)?;
    Ok((Releases { shared }, follow))
}

// === impl Releases ===

impl<A> Releases<A> {
    /// The release that decides for `unit`, a subject or else a session: the canary where it has them, what runs where not, and for
    /// nobody. A request asks once and uses it from start to end.
    pub fn of(&self, unit: Option<&str>) -> Option<Arc<A>> {
        if let (Some(beside), Some(unit)) = (&*self.shared.canary.load(), unit)
            && beside.canary.has(unit)
        {
            return Some(Arc::clone(&beside.active));
        }
        Option::as_ref(&self.active()).map(Arc::clone)
    }

    /// The canary, where there is one.
    pub fn canary(&self) -> Option<Arc<A>> {
        Option::as_ref(&self.shared.canary.load()).map(|beside| Arc::clone(&beside.active))
    }

    /// The release before, kept warm for a rollback, where there is one.
    pub fn previous(&self) -> Option<Arc<A>> {
        self.shared.previous.load_full()
    }

    /// The release that runs now, for all that have no part in a canary.
    pub fn active(&self) -> Borrowed<Option<Arc<A>>> {
        self.shared.active.load()
    }

    /// Which release runs, which others do not and why.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.shared.status.borrow())
    }

    /// The status as it changes.
    pub fn changes(&self) -> watch::Receiver<Arc<Status>> {
        self.shared.status.subscribe()
    }

    /// Tells what `release` did lately. To be called about once a second, for what runs before the canary: a release that faults more
    /// than its guard allows in its first minutes is taken back, and a canary that is worse than what runs is dropped.
    pub fn observe(&self, release: Digest, counts: &Counts) {
        let now_us = self.shared.clock.now_us();
        self.act_on(release, &self.shared.guard, |watch| {
            watch.count(release, counts.decisions(), counts.faults, now_us)
        });
        let brought = self.shared.earned.so_far(release);
        self.act_on(release, &self.shared.canary_guard, |watch| {
            watch.count(release, counts, now_us)?;
            brought.map_or(Ok(()), |(canary, running)| watch.compare(canary, running))
        });
    }

    fn act_on<W>(&self, release: Digest, watch: &Mutex<Option<W>>, count: impl FnOnce(&mut W) -> Result<(), Tripped>) {
        let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Err(tripped)) = watch.as_mut().map(count) else { return };
        // There is room for one: as long as the follower has not acted on it, the watch stays and trips again.
        if self.shared.tripped.try_send((release, tripped)).is_ok() {
            *watch = None;
        }
    }

    /// The flow's counters.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }
}

impl<A> Clone for Releases<A> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}
