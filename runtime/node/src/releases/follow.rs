//! The follower: from a pointer, or from a packed folder, to the release that runs. Owns the order of the steps and the
//! releases held: nothing is announced before the journal says it, and nothing that fails touches what runs.

mod back;
mod canary;
mod obtain;
mod pointer;
mod sources;

use std::sync::{Arc, PoisonError};

use selvedge_build::channel::{self, Pointer};
use selvedge_build::definitions;
use selvedge_build::keys::TrustStore;
use selvedge_build::release::ReleaseFiles;
use selvedge_decision::definition::Guard;
use selvedge_decision::{Digest, TimeUs};
use tokio::sync::{Mutex, mpsc, watch};

use self::canary::HeldCanary;
use super::cache::Cache;
use super::guard::{GuardWatch, Tripped};
use super::journal::{Journal, Quarantine, Ran, State};
use super::metrics::RefusedLabels;
use super::status::{Refusal, RefusalCode, Running, Status};
use super::{OpenError, ReleasesConfig, Shared, Stage, StageError, report};
use crate::link::Link;

/// The task that follows a link's releases.
pub struct Follow<S: Stage> {
    config: ReleasesConfig,
    link: Link,
    stage: S,
    trust: TrustStore,
    shared: Arc<Shared<S::Active>>,
    /// Behind a lock so that it can be listened to while a release is made ready.
    trips: Mutex<mpsc::Receiver<(Digest, Tripped)>>,
    /// With the local link there is none: the folder is the truth at every start.
    journal: Option<Journal>,
    cache: Cache,
    active: Option<Held<S::Active>>,
    previous: Option<Held<S::Active>>,
    canary: Option<HeldCanary<S::Active>>,
    quarantine: Option<Quarantine>,
    /// A canary that was dropped, as `quarantine` is of what ran.
    dropped: Option<Quarantine>,
    /// The value that was followed or refused for good, and the trusted keys' version then.
    done: Option<(Vec<u8>, u64)>,
    /// What ran last could not be staged yet, and nothing runs.
    resume_again: bool,
}

/// A release that runs, or is kept warm.
struct Held<A> {
    ran: Ran,
    name: String,
    guard: Guard,
    active: Arc<A>,
}

/// Why a release does not run.
struct Refused {
    code: RefusalCode,
    release: Option<Digest>,
    why: String,
}

// === impl Follow ===

impl<S: Stage> Follow<S> {
    pub(super) fn open(
        config: ReleasesConfig,
        link: Link,
        stage: S,
        shared: Arc<Shared<S::Active>>,
        trips: mpsc::Receiver<(Digest, Tripped)>,
    ) -> Result<Self, OpenError> {
        let broken_dir = |error| OpenError::Dir { dir: config.dir.clone(), error };
        let cache = Cache::open(&config.dir).map_err(broken_dir)?;
        let journal = match &link {
            Link::Local(_) => None,
            Link::Nats(_) if !channel::is_name(&config.channel) => return Err(OpenError::Channel(config.channel)),
            Link::Nats(_) => {
                let (journal, problem) = Journal::open(&config.dir).map_err(broken_dir)?;
                if let Some(problem) = problem {
                    tracing::error!(problem, "the release journal is lost: an old pointer could be played back once");
                }
                Some(journal)
            }
        };
        let state = journal.as_ref().map(Journal::state).cloned().unwrap_or_default();
        let trust = TrustStore::from_files(config.trust.iter().cloned());
        let counter = state.seen.get(&config.channel).map_or(0, |seen| seen.counter);
        shared.status.send_modify(|status| {
            let channel = if journal.is_some() { config.channel.clone() } else { String::new() };
            let (quarantined, canary_dropped) = (state.quarantine.clone(), state.dropped.clone());
            *Arc::make_mut(status) = Status { channel, counter, quarantined, canary_dropped, ..Status::default() };
        });
        shared.metrics.counter.set(counter);
        let (quarantine, dropped) = (state.quarantine, state.dropped);
        let (active, previous, done, resume_again) = (None, None, None, false);
        Ok(Self {
            config,
            link,
            stage,
            trust,
            shared,
            trips: Mutex::new(trips),
            journal,
            cache,
            active,
            previous,
            canary: None,
            quarantine,
            dropped,
            done,
            resume_again,
        })
    }

    /// Follows the link until `stop`. First, without the core, comes what ran last.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let reports = self.reports();
        let follow = async {
            self.resume().await;
            match self.link.clone() {
                Link::Nats(nats) => self.follow_channel(&nats).await,
                Link::Local(local) => self.follow_directory(&local).await,
            }
        };
        tokio::select! {
            () = async { tokio::join!(follow, reports); } => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    fn reports(&self) -> impl Future<Output = ()> + Send + use<S> {
        let ReleasesConfig { node, labels, epoch, report_every: every, .. } = self.config.clone();
        let who = report::Who { node, labels, epoch };
        let (changes, clock) = (self.shared.status.subscribe(), self.shared.clock.clone());
        let metrics = self.shared.metrics.clone();
        let link = self.link.clone();
        async move {
            match link {
                Link::Nats(nats) => report::report(&nats, who, changes, clock, every, metrics).await,
                Link::Local(_) => {}
            }
        }
    }

    /// Stages what the journal says ran last, and the canary beside it; when that cannot be staged any more, what ran before it.
    /// Their bytes must still be what their digests say. A key that was withdrawn since does not take away what already runs.
    async fn resume(&mut self) {
        let Some(state) = self.journal.as_ref().map(Journal::state).cloned() else { return };
        let State { active, previous, canary, .. } = state;
        let mut held = Vec::new();
        let mut again = false;
        for ran in [active, previous].into_iter().flatten() {
            let staged = match self.kept(&ran.release).await {
                Ok(files) => self.make(files, ran).await,
                Err(refused) => Err(refused),
            };
            match staged {
                Ok(staged) => {
                    // The first that can run does so at once; the other is made ready behind it.
                    if held.is_empty() {
                        self.announce(&staged, Some(ran.since_us));
                    }
                    held.push(staged);
                }
                Err(refused) => {
                    again |= refused.code.is_tried_again() && refused.code != RefusalCode::Fetch;
                    self.refuse(Refused { code: RefusalCode::Resume, ..refused });
                }
            }
        }
        self.resume_again = again && held.is_empty();
        let mut held = held.into_iter();
        (self.active, self.previous) = (held.next(), held.next());
        self.tell_held();
        if let Some(canary) = canary {
            self.resume_canary(canary).await;
        }
    }

    /// Follows a channel's value. What fails for good is not tried again until the value or the trusted keys change.
    async fn follow_value(&mut self, value: &[u8]) {
        let version = self.trust.version();
        if self.done.as_ref().is_some_and(|(done, then)| done == value && *then == version) {
            return;
        }
        let outcome = match self.believe(value).await {
            Ok(pointer) => self.go_by(pointer).await,
            Err(refused) => Err(refused),
        };
        let again = outcome.as_ref().is_err_and(|refused| refused.code.is_tried_again());
        self.done = (!again).then(|| (value.to_owned(), version));
        self.conclude(outcome);
    }

    /// Runs what a pointer says, and beside it the canary, where this node takes part. A canary that is not wanted any more ends
    /// first, whatever becomes of the release.
    async fn go_by(&mut self, pointer: Pointer) -> Result<(), Refused> {
        let Pointer { release, canary, counter, .. } = pointer;
        let canary = canary.filter(|canary| canary.release != release && canary.fits(&self.config.labels));
        let wanted = canary.as_ref().map(|canary| canary.release);
        if self.beside().is_some_and(|beside| Some(beside) != wanted && beside != release) {
            self.end_canary().await?;
        }
        self.go_to(release, counter).await?;
        self.go_beside(canary, counter).await
    }

    /// Makes `release` the one that runs, if it does not yet.
    async fn go_to(&mut self, release: Digest, counter: u64) -> Result<(), Refused> {
        loop {
            if self.is_back_to(release, counter).await? {
                return Ok(());
            }
            let ran = Ran { release, counter, since_us: self.shared.clock.now_us() };
            let made = async { self.make(self.obtain(&release).await?, ran).await };
            match self.unless_tripped(Box::pin(made)).await {
                Ok(made) => return self.swap(made?).await,
                Err((bad, tripped)) => self.take_back(bad, &tripped).await,
            }
        }
    }

    /// Whether `release` runs without being made ready: it does already, or it is the canary or the previous one and does now.
    async fn is_back_to(&mut self, release: Digest, counter: u64) -> Result<bool, Refused> {
        self.check_quarantine(release, counter).await?;
        let runs = self.active.as_ref().is_some_and(|active| active.ran.release == release);
        Ok(runs || self.promote(release, counter).await? || self.go_back_to(release, counter).await?)
    }

    /// What `work` makes, unless the guard trips before: then `work` is dropped, and what is wrong must be taken back first.
    async fn unless_tripped<T>(&self, work: impl Future<Output = T>) -> Result<T, (Digest, Tripped)> {
        tokio::select! {
            biased;
            tripped = self.tripped() => Err(tripped),
            made = work => Ok(made),
        }
    }

    /// The guard's next word. Safe to drop while it waits.
    async fn tripped(&self) -> (Digest, Tripped) {
        match self.trips.lock().await.recv().await {
            Some(tripped) => tripped,
            None => std::future::pending().await,
        }
    }

    /// Stages `files`.
    async fn make(&self, files: ReleaseFiles, ran: Ran) -> Result<Held<S::Active>, Refused> {
        let release = Some(ran.release);
        let text = files.files.get("release.toml").map_or(&[][..], |text| &text[..]);
        let def = definitions::release(&String::from_utf8_lossy(text));
        let def = def.map_err(|bad| Refused { code: RefusalCode::Contents, release, why: bad.to_string() })?;
        let started = std::time::Instant::now();
        let staged = self.stage.stage(files).await;
        self.shared.metrics.stage_seconds.observe(started.elapsed().as_secs_f64());
        let active = staged.map_err(|error| Refused { release, ..Refused::from(error) })?;
        Ok(Held { ran, name: def.name, guard: def.guard, active })
    }

    /// Lets `next` run: journal first, then the swap, then the news.
    async fn swap(&mut self, next: Held<S::Active>) -> Result<(), Refused> {
        self.journal_swap(next.ran).await?;
        let since_us = next.ran.since_us;
        self.install(next, Some(since_us)).await;
        Ok(())
    }

    async fn journal_swap(&mut self, next: Ran) -> Result<(), Refused> {
        let before = self.active.as_ref().map(|active| active.ran);
        let written = self.record(|state| {
            state.active = Some(next);
            state.previous = before;
            state.canary.take_if(|beside| beside.canary.release == next.release);
        });
        written.await.map_err(|refused| Refused { release: Some(next.release), ..refused })
    }

    /// What runs becomes the previous release, and what was that is let go.
    async fn install(&mut self, next: Held<S::Active>, watched_since_us: Option<TimeUs>) {
        self.announce(&next, watched_since_us);
        self.previous = self.active.replace(next);
        self.watch_canary(self.shared.clock.now_us());
        self.tell_held();
        self.prune().await;
    }

    /// The swap itself. `watched_since_us` is from when on the guard counts, if it does.
    fn announce(&self, next: &Held<S::Active>, watched_since_us: Option<TimeUs>) {
        let watch = watched_since_us.map(|since_us| GuardWatch::new(next.ran.release, next.guard.clone(), since_us));
        *self.shared.guard.lock().unwrap_or_else(PoisonError::into_inner) = watch;
        self.shared.active.store(Some(Arc::clone(&next.active)));
        self.shared.metrics.swaps.inc();
        self.shared.metrics.since.set(next.ran.since_us / 1_000_000);
        tracing::info!(release = %next.ran.release, name = next.name, counter = next.ran.counter, "release runs");
        self.tell(|status| status.active = Some(Running::new(&next.ran, &next.name)));
    }

    async fn record(&mut self, change: impl FnOnce(&mut State)) -> Result<(), Refused> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.write(change).await.map_err(|error| {
            let why = format!("{}: the journal cannot be written: {error}", self.config.dir.display());
            Refused { code: RefusalCode::Disk, release: None, why }
        })
    }

    fn conclude(&self, outcome: Result<(), Refused>) {
        match outcome {
            Ok(()) => self.tell(|status| status.refusal = None),
            Err(refused) => self.refuse(refused),
        }
    }

    fn refuse(&self, refused: Refused) {
        let Refused { code, release, why } = refused;
        let release = release.map(|release| release.to_string());
        let stands =
            self.shared.status.borrow().refusal.as_ref().is_some_and(|r| r.code == code && r.release == release);
        if !stands {
            tracing::error!(code = code.as_str(), release, why, "release refused; what runs goes on");
        }
        self.shared.metrics.refused.get_or_create(&RefusedLabels { code }).inc();
        let since_us = self.shared.clock.now_us();
        self.tell(|status| status.refuse(Refusal { code, release, why, since_us, tries: 1 }));
    }

    fn tell_held(&self) {
        self.shared.previous.store(self.previous.as_ref().map(|held| Arc::clone(&held.active)));
        let previous = self.previous.as_ref().map(|held| Running::new(&held.ran, &held.name));
        self.tell(|status| status.previous = previous);
    }

    fn tell(&self, change: impl FnOnce(&mut Status)) {
        self.shared.status.send_if_modified(|status| {
            let mut next = Status::clone(status);
            change(&mut next);
            let changed = next != **status;
            *status = Arc::new(next);
            changed
        });
    }
}

// === impl Held ===

impl<A> Held<A> {
    /// The same, as it runs by another pointer.
    fn again(&self, ran: Ran) -> Self {
        Self { ran, name: self.name.clone(), guard: self.guard.clone(), active: Arc::clone(&self.active) }
    }
}

// === impl RefusalCode ===

impl RefusalCode {
    /// Whether the same pointer may work a moment later.
    fn is_tried_again(self) -> bool {
        matches!(self, Self::Fetch | Self::NotYet | Self::Disk)
    }
}

// === impl Refused ===

impl From<StageError> for Refused {
    fn from(error: StageError) -> Self {
        let code = match &error {
            StageError::Contents(_) => RefusalCode::Contents,
            StageError::Module(_) => RefusalCode::Module,
            StageError::Vectors(_) => RefusalCode::Vectors,
            StageError::NotYet(_) => RefusalCode::NotYet,
        };
        Self { code, release: None, why: error.to_string() }
    }
}

#[cfg(test)]
mod tests;
