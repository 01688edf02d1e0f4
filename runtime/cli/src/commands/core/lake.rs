//! `selvedge core lake`: the stream into files of Parquet, as it comes or once. Owns when to read, to wait and to try again; what
//! is written, and that nothing is written twice, is `selvedge_core::lake`'s.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use selvedge_core::lake::{
    Compacted, Day, LandError, Landed, Lander, Limits, Removed, Store, StoreError, compact, remove_older,
};
use selvedge_decision::definition::Span;
use selvedge_node::clock::Clock;
use selvedge_node::link::NatsLink;
use selvedge_node::link::nats::events::{
    BlockMessage, BlockMessages, BlockQuery, BlocksFrom, ReadFailure, StreamState,
};
use serde::Serialize;

use crate::cli::span;
use crate::core::{CoreArgs, block_on};
use crate::lake;
use crate::output::{Outcome, Output};
use crate::stop::Stop;

/// How long to wait before what failed is tried again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often old days are looked for.
const KEEP_EVERY: Duration = Duration::from_secs(3600);

#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Lands what the stream holds and then what arrives, until SIGINT or SIGTERM. Killed at any moment it loses \
    nothing and writes nothing twice: start it again. One process lands into a place; the keys, region and endpoint of a bucket \
    come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT. docs/lake.md has the columns."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// A directory, or s3://BUCKET/PREFIX.
    #[arg(long, value_name = "LAKE", required = true)]
    to: Option<String>,
    /// Land what is there, and end.
    #[arg(long)]
    once: bool,
    /// How long an item may wait for others of its part.
    #[arg(long, default_value = "60s", value_name = "SPAN", value_parser = span)]
    every: Span,
    /// Rows of a part, at most.
    #[arg(long, default_value_t = 200_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    rows: u32,
    /// Remove days that are older, such as 400d; nothing is removed when not said.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    keep: Option<Span>,
    #[command(flatten)]
    core: CoreArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Put the parts of a day together, without the rows of erased persons.
    Compact(CompactArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompactArgs {
    /// A directory, or s3://BUCKET/PREFIX.
    #[arg(long, value_name = "LAKE")]
    to: String,
    /// The day, in UTC; more than one may be named.
    #[arg(long, value_name = "DAY", required = true)]
    day: Vec<Day>,
}

/// What a landing that ended has done.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    landed: Landed,
    /// Messages that the stream let go before they were landed.
    gone: u64,
    /// The last message of the stream that is landed.
    position: u64,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        if let Some(Command::Compact(args)) = self.command {
            return args.run(output);
        }
        let to = self.to.as_deref().unwrap_or_default();
        let store = lake::open(to)?;
        block_on(0, async {
            let nats = self.core.connect().await?;
            let (before, args) = (Landed::default(), &self);
            let mut landing = Landing { nats, store, args, output, before, gone: 0, gone_to: 0, kept: None };
            let report = if self.once { landing.once().await? } else { landing.follow().await? };
            let Landed { parts, events, rewards, decisions, again, broken } = report.landed;
            let mut text =
                format!("landed {events} events, {rewards} rewards and {decisions} decisions in {parts} parts");
            for (count, what) in [
                (again, "items that were there already"),
                (broken, "blocks that cannot be read"),
                (report.gone, "messages that the stream let go before they were landed"),
            ] {
                if count > 0 {
                    text.push_str(&format!("; {count} {what}"));
                }
            }
            output.data(&report, text)?;
            Ok(Outcome::of(broken == 0 && report.gone == 0))
        })
    }
}

/// A stream on its way into a lake.
struct Landing<'a> {
    nats: std::sync::Arc<NatsLink>,
    store: Store,
    args: &'a Args,
    output: &'a Output,
    /// What was landed of streams that were made anew since.
    before: Landed,
    gone: u64,
    /// Up to where messages that are gone were told.
    gone_to: u64,
    /// When old days were last removed.
    kept: Option<Instant>,
}

/// A stream that is followed.
#[derive(Default)]
struct Following {
    lander: Option<(Lander, StreamState)>,
    blocks: Option<BlockMessages>,
    /// Whether the stream was looked at since something was due: it may be another one.
    is_looked_at: bool,
}

/// What a follower has to do.
enum Next {
    Message(BlockMessage),
    Due,
    MadeAnew,
}

// === impl Landing ===

impl Landing<'_> {
    async fn once(&mut self) -> anyhow::Result<Report> {
        self.keep().await?;
        let state = match self.nats.events_state().await {
            Ok(state) => state,
            Err(ReadFailure::NoStream(_)) => {
                self.output.talk("no node has told anything yet");
                return Ok(Report { landed: Landed::default(), gone: 0, position: 0 });
            }
            Err(error) => return Err(error.into()),
        };
        let mut lander = self.open(state).await?;
        let mut blocks = self.blocks(&lander, false).await?;
        while let Some(message) = blocks.next().await? {
            lander.take(&message, Instant::now()).await?;
            lander.tick(Instant::now()).await?;
        }
        lander.finish().await?;
        Ok(self.report(&lander))
    }

    /// Until a signal: what fails is tried again, and what was read waits.
    async fn follow(&mut self) -> anyhow::Result<Report> {
        let mut stop = Stop::new()?;
        let mut pause = FIRST_PAUSE;
        let mut following = Following::default();
        loop {
            let tried = self.step(&mut following, &mut stop).await;
            match tried {
                Ok(true) => pause = FIRST_PAUSE,
                Ok(false) => break,
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => {
                    self.output.talk(format_args!("trying again in {:.1} s: {error:#}", pause.as_secs_f32()));
                    (following.blocks, following.is_looked_at) = (None, false);
                    if stop.comes_before(tokio::time::sleep(pause)).await.is_none() {
                        break;
                    }
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            }
        }
        let Some((mut lander, _)) = following.lander else { anyhow::bail!("stopped before the lake was open") };
        let finished = stop.comes_before_long(lander.finish()).await;
        finished
            .with_context(|| format!("{} does not answer: what is not landed is read again", self.store.shown()))??;
        Ok(self.report(&lander))
    }

    /// Takes the next message, or does what is due; false after a signal. Waiting is given up half way then, writing a while
    /// later: as after a failure of the store, what was being written stays to be written.
    async fn step(&mut self, following: &mut Following, stop: &mut Stop) -> anyhow::Result<bool> {
        let Some(kept) = stop.comes_before(self.keep()).await else { return Ok(false) };
        kept?;
        if following.lander.is_none() {
            let Some(state) = stop.comes_before(self.nats.events_state()).await else { return Ok(false) };
            let state = state?;
            let Some(lander) = stop.comes_before_long(self.open(state)).await else { return Ok(false) };
            following.lander = Some((lander?, state));
        }
        let next = stop.comes_before(self.next(following)).await;
        let Some((lander, _)) = &mut following.lander else { return Ok(true) };
        let Some(next) = next else { return Ok(false) };
        let next = next?;
        let written = stop.comes_before_long(async {
            match &next {
                Next::Message(message) => lander.take(message, Instant::now()).await,
                Next::Due => lander.tick(Instant::now()).await,
                Next::MadeAnew => lander.finish().await,
            }
        });
        let Some(written) = written.await else { return Ok(false) };
        written?;
        match next {
            Next::Message(_) => {}
            Next::Due => following.is_looked_at = false,
            Next::MadeAnew => {
                self.output.talk("the stream was made anew: landing from its start");
                self.before = self.before.and(lander.landed());
                self.gone_to = 0;
                *following = Following::default();
            }
        }
        Ok(true)
    }

    async fn next(&mut self, following: &mut Following) -> anyhow::Result<Next> {
        let Some((lander, state)) = &following.lander else { return Ok(Next::Due) };
        if !following.is_looked_at {
            // Its numbers begin again then.
            let now = self.nats.events_state().await?;
            if now.created_us != state.created_us || now.last < lander.position() {
                return Ok(Next::MadeAnew);
            }
            if following.blocks.is_none() {
                self.note_gone(lander.position(), now.first);
            }
            following.is_looked_at = true;
        }
        let blocks = match &mut following.blocks {
            Some(blocks) => blocks,
            None => following.blocks.insert(self.blocks(lander, true).await?),
        };
        let due = tokio::time::Instant::from_std(lander.next_tick(Instant::now()));
        let next = tokio::select! {
            next = blocks.next() => next?,
            () = tokio::time::sleep_until(due) => return Ok(Next::Due),
        };
        let Some(message) = next else {
            following.blocks = None;
            return Ok(Next::Due);
        };
        // What was let go while this was reading: the numbers of a stream have no holes else.
        if lander.position() > 0 {
            self.note_gone(lander.position(), message.sequence);
        }
        Ok(Next::Message(message))
    }

    async fn open(&mut self, state: StreamState) -> anyhow::Result<Lander> {
        let Args { rows, every, core, .. } = self.args;
        let wait = Duration::from_micros(every.us().unsigned_abs());
        let limits = Limits { rows: *rows as usize, wait, ..Limits::default() };
        let stream = core.config().events_stream();
        let lander = Lander::open(self.store.clone(), limits, &stream, state).await?;
        // Before the first time, what is gone is nobody's loss.
        if lander.position() > 0 {
            self.note_gone(lander.position(), state.first);
        }
        Ok(lander)
    }

    /// Tells of messages that the stream let go behind those that are known.
    fn note_gone(&mut self, known: u64, first: u64) {
        let known = known.max(self.gone_to);
        let gone = first.saturating_sub(known + 1);
        if gone > 0 {
            self.gone += gone;
            self.gone_to = first - 1;
            self.output.talk(format_args!(
                "the stream goes on with message {first} and is landed up to {known}: {gone} messages are gone; `selvedge core \
                 init --events-age` keeps them longer"
            ));
        }
    }

    async fn blocks(&self, lander: &Lander, follow: bool) -> Result<BlockMessages, ReadFailure> {
        let from = BlocksFrom::After(lander.position());
        self.nats.blocks(BlockQuery { lane: None, node: None, from, follow }).await
    }

    /// Removes days that are older than is kept.
    async fn keep(&mut self) -> Result<(), StoreError> {
        let Some(keep) = self.args.keep else { return Ok(()) };
        if self.kept.is_some_and(|kept| kept.elapsed() < KEEP_EVERY) {
            return Ok(());
        }
        let first = Day::of(Clock::new().now_us().saturating_sub(keep.us()));
        let Removed { parts, broken, .. } = remove_older(&self.store, first).await?;
        if parts + broken > 0 {
            let what = format!("{parts} parts of days before {first}, {broken} broken blocks");
            self.output.talk(format_args!("removed {what}"));
        }
        self.kept = Some(Instant::now());
        Ok(())
    }

    fn report(&self, lander: &Lander) -> Report {
        Report { landed: self.before.and(lander.landed()), gone: self.gone, position: lander.position() }
    }
}

/// Whether trying again cannot help.
fn is_final(error: &anyhow::Error) -> bool {
    let store = |error: &StoreError| !matches!(error, StoreError::Failed { .. });
    match error.downcast_ref::<LandError>() {
        Some(LandError::Store(error)) => store(error),
        Some(LandError::Table { .. } | LandError::Position { .. }) => true,
        None => error.downcast_ref::<StoreError>().is_some_and(store),
    }
}

// === impl CompactArgs ===

impl CompactArgs {
    fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let store = lake::open_existing(&self.to)?;
        block_on(0, async {
            for day in &self.day {
                let done = compact(&store, *day).await?;
                let Compacted { parts_before, parts, erased } = done;
                let text =
                    format!("{day}: {parts_before} parts became {parts}, {erased} rows of erased persons removed");
                output.data(&serde_json::json!({ "day": day.to_string(), "done": done }), text)?;
            }
            Ok(Outcome::Ok)
        })
    }
}
