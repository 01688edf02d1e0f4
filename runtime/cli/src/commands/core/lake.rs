//! `selvedge core lake`: the stream into files of Parquet, as it comes or once. Owns when to read, to wait and to try again; what
//! is written, and that nothing is written twice, is `selvedge_core::lake`'s.

use std::time::{Duration, Instant};

use selvedge_core::lake::{
    Compacted, Day, LandError, Landed, Lander, Limits, Store, StoreError, compact, remove_older,
};
use selvedge_decision::definition::Span;
use selvedge_node::clock::Clock;
use selvedge_node::link::NatsLink;
use selvedge_node::link::nats::events::{
    BlockMessage, BlockMessages, BlockQuery, BlocksFrom, ReadFailure, StreamState,
};
use serde::Serialize;

use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output, Usage};
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

fn span(text: &str) -> Result<Span, String> {
    Span::try_from(text.to_owned()).and_then(|span| if span.us() > 0 { Ok(span) } else { Err("it is no time".into()) })
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
        let store = Store::open(to).map_err(usage)?;
        block_on(0, async {
            let nats = self.core.connect().await?;
            let mut landing = Landing { nats, store, args: &self, output, gone: 0, gone_to: 0, kept: None };
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

fn usage(error: StoreError) -> anyhow::Error {
    match error {
        StoreError::BadPlace { .. } => Usage(error.to_string()).into(),
        other => other.into(),
    }
}

/// A stream on its way into a lake.
struct Landing<'a> {
    nats: std::sync::Arc<NatsLink>,
    store: Store,
    args: &'a Args,
    output: &'a Output,
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
                    following.blocks = None;
                    if stop.comes_before(tokio::time::sleep(pause)).await.is_none() {
                        break;
                    }
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            }
        }
        let Some((mut lander, _)) = following.lander else { anyhow::bail!("stopped before the core could be read") };
        lander.finish().await?;
        Ok(self.report(&lander))
    }

    /// Takes the next message, or does what is due; false after a signal. Only waiting is given up half way, not writing.
    async fn step(&mut self, following: &mut Following, stop: &mut Stop) -> anyhow::Result<bool> {
        self.keep().await?;
        if following.lander.is_none() {
            let Some(state) = stop.comes_before(self.nats.events_state()).await else { return Ok(false) };
            let state = state?;
            following.lander = Some((self.open(state).await?, state));
        }
        let next = stop.comes_before(self.next(following)).await;
        let Some((lander, _)) = &mut following.lander else { return Ok(true) };
        match next {
            None => return Ok(false),
            Some(next) => match next? {
                Next::Message(message) => lander.take(&message, Instant::now()).await?,
                Next::Due => {
                    lander.tick(Instant::now()).await?;
                    // Begins to read anew, and looks at the stream before.
                    following.blocks = None;
                }
                Next::MadeAnew => {
                    lander.finish().await?;
                    self.output.talk("the stream was made anew: landing from its start");
                    *following = Following::default();
                }
            },
        }
        Ok(true)
    }

    async fn next(&mut self, following: &mut Following) -> anyhow::Result<Next> {
        let Some((lander, state)) = &following.lander else { return Ok(Next::Due) };
        let blocks = match &mut following.blocks {
            Some(blocks) => blocks,
            None => {
                // Its numbers begin again then.
                let now = self.nats.events_state().await?;
                if now.created_us != state.created_us || now.last < lander.position() {
                    return Ok(Next::MadeAnew);
                }
                self.note_gone(lander.position(), now.first);
                following.blocks.insert(self.blocks(lander, true).await?)
            }
        };
        let due = tokio::time::Instant::from_std(lander.next_tick(Instant::now()));
        tokio::select! {
            next = blocks.next() => Ok(next?.map_or(Next::Due, Next::Message)),
            () = tokio::time::sleep_until(due) => Ok(Next::Due),
        }
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
                "the stream begins with message {first} and is landed up to {known}: {gone} messages are gone; `selvedge core \
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
        let removed = remove_older(&self.store, first).await?;
        if removed.parts > 0 {
            self.output.talk(format_args!("removed {} parts of days before {first}", removed.parts));
        }
        self.kept = Some(Instant::now());
        Ok(())
    }

    fn report(&self, lander: &Lander) -> Report {
        Report { landed: lander.landed(), gone: self.gone, position: lander.position() }
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
        let store = Store::open_existing(&self.to).map_err(usage)?;
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
