//! `selvedge keys`: the file of those who may call a node. Owns how it is changed: whole or not at all, one command at a time, and no
//! line but the key's own.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use selvedge_build::channel::time_text;
use selvedge_decision::Digest;
use selvedge_decision::definition::{Span, Time};
use selvedge_node::clock::Clock;
use selvedge_node::keys::{self, Keys, Line, Metrics, PublishableLine, Scope, ServerLine};
use serde::Serialize;

use crate::cli::span;
use crate::config::ConfigArgs;
use crate::files::{read_file, write_file};
use crate::output::{Outcome, Output, Usage};
use crate::table::Table;

/// The largest keys file, in bytes, which is the largest that nodes read.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Tokens a second of a publishable key, and at once, when nobody says: about 60 page views a second on each node.
const RATE: f64 = 500.0;
const BURST: u32 = 1_000;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a key and print it. A server key is printed this once: the file keeps its hash.
    Create(Create),
    /// Show the keys.
    List(List),
    /// Remove a key; nodes refuse it within a second or two.
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Keysfile {
    /// The keys file; that of `http.keys` in the settings when not said.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "To rotate a key, create another of the same name, give it out, then revoke the old one by its id: both work \
    in between."
)]
pub(crate) struct Create {
    /// What it is called in metrics and messages.
    name: String,
    /// A server key's scope, repeatable: decide, events, admin.
    #[arg(long = "scope", value_name = "SCOPE", required_unless_present = "publishable")]
    scopes: Vec<Scope>,
    /// A key for pages, which is no secret.
    #[arg(long, conflicts_with = "scopes", requires = "origins")]
    publishable: bool,
    // A flag that something conflicts with is not required any more: that it conflicts is said of each.
    /// The origin of pages that may use it, repeatable, such as https://shop.example; * is every page.
    #[arg(long = "origin", value_name = "ORIGIN", requires = "publishable", conflicts_with = "scopes")]
    origins: Vec<String>,
    /// A placement it may ask for, repeatable; each that is `browser = true` when not said.
    #[arg(long = "placement", value_name = "KEY", requires = "publishable", conflicts_with = "scopes")]
    placements: Vec<String>,
    /// Tokens a second on each node, of which a decision takes one; 500 when not said.
    #[arg(long, value_name = "NUMBER", requires = "publishable", conflicts_with = "scopes")]
    rate: Option<f64>,
    /// Tokens at once on each node; 1000 when not said.
    #[arg(long, value_name = "NUMBER", requires = "publishable", conflicts_with = "scopes")]
    burst: Option<u32>,
    /// How long it is one, such as 90d; until it is revoked when not said.
    #[arg(long, value_name = "TIME", value_parser = span)]
    expires: Option<Span>,
    #[command(flatten)]
    keysfile: Keysfile,
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    keysfile: Keysfile,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    /// Its id, or its name where one key has it.
    key: String,
    #[command(flatten)]
    keysfile: Keysfile,
}

#[derive(Serialize)]
struct Made {
    name: String,
    id: String,
    key: String,
    file: PathBuf,
}

/// A key as it is listed.
#[derive(Serialize)]
struct Listed<'a> {
    id: String,
    #[serde(flatten)]
    line: &'a Line,
}

// === impl Command ===

impl Command {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        match self {
            Self::Create(args) => args.run(output),
            Self::List(args) => args.run(output),
            Self::Revoke(args) => args.run(output),
        }
    }
}

// === impl Create ===

impl Create {
    fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let file = self.keysfile.path()?;
        let (line, key) = self.line().map_err(|bad| Usage(bad.to_string()))?;
        let _turn = turn(&file)?;
        let text = if file.exists() { read(&file)? } else { String::new() };
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        write(&file, &format!("{text}{gap}{line}\n"))?;
        let made = Made { name: line.name().to_owned(), id: line.id(), key, file };
        if let Line::Server(_) = line {
            output.talk("this key is shown once: the file keeps its hash alone");
        }
        output.talk(format_args!("{} ({}) is in {}", made.name, made.id, made.file.display()));
        output.data(&made, &made.key)?;
        Ok(Outcome::Ok)
    }

    /// The new line, and the key.
    fn line(self) -> Result<(Line, String), keys::BadLine> {
        let now_us = Clock::new().now_us();
        let created = Some(Time::from_us(now_us / 1_000_000 * 1_000_000));
        let expires = self.expires.map(|expires| Time::from_us(now_us.saturating_add(expires.us())));
        if !self.publishable {
            let mut scopes = self.scopes;
            scopes.dedup();
            let line = ServerLine { name: self.name, sha256: Digest([0; 32]), scopes, created, expires };
            return Line::server(line);
        }
        let placements = if self.placements.is_empty() { vec!["*".to_owned()] } else { self.placements };
        let line = PublishableLine {
            name: self.name,
            key: String::new(),
            origins: self.origins,
            placements,
            rate: self.rate.unwrap_or(RATE),
            burst: self.burst.unwrap_or(BURST),
            created,
            expires,
        };
        let line = Line::publishable(line)?;
        let key = match &line {
            Line::Publishable(line) => line.key.clone(),
            Line::Server(_) => String::new(),
        };
        Ok((line, key))
    }
}

// === impl List ===

impl List {
    fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let file = self.keysfile.path()?;
        let lines = lines(&file, &read(&file)?)?;
        if output.is_json() {
            lines.iter().try_for_each(|(_, line)| output.json_line(&Listed { id: line.id(), line }))?;
            return Ok(Outcome::Ok);
        }
        let now_us = Clock::new().now_us();
        let mut table = Table::new(&["name", "id", "for", "may", "created", "expires"]);
        for (_, line) in &lines {
            let (created, expires) = line.times();
            let when = |time: Option<Time>| time.map_or("-".to_owned(), |time| time_text(time.us()));
            let is_over = expires.is_some_and(|expires| expires.us() <= now_us);
            let expires = if is_over { format!("{} (expired)", when(expires)) } else { when(expires) };
            let (who, may) = match line {
                Line::Server(line) => {
                    ("servers", line.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", "))
                }
                Line::Publishable(line) => {
                    let (origins, placements) = (line.origins.join(", "), line.placements.join(", "));
                    ("pages", format!("{placements} from {origins}, {} a second, {} at once", line.rate, line.burst))
                }
            };
            table.row([line.name().to_owned(), line.id(), who.to_owned(), may, when(created), expires]);
        }
        output.text_line(if lines.is_empty() { "no key yet".to_owned() } else { table.to_string() })?;
        Ok(Outcome::Ok)
    }
}

// === impl Revoke ===

impl Revoke {
    fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let file = self.keysfile.path()?;
        let _turn = turn(&file)?;
        let text = read(&file)?;
        let lines = lines(&file, &text)?;
        let found: Vec<_> = lines.iter().filter(|(_, line)| line.id() == self.key || line.name() == self.key).collect();
        let (number, line) = match found.as_slice() {
            [one] => one,
            [] => return Err(Usage(format!("{}: there is no key {:?}", file.display(), self.key)).into()),
            several => {
                let ids: Vec<_> = several.iter().map(|(_, line)| line.id()).collect();
                let why = format!("several keys are called {:?}: say the id of one ({})", self.key, ids.join(", "));
                return Err(Usage(why).into());
            }
        };
        if lines.len() == 1 {
            let why =
                "is the only key of the file, and nodes keep to what they have when none is left: create another first";
            return Err(Usage(format!("{}: {} {why}", file.display(), line.name())).into());
        }
        let kept: String =
            text.split_inclusive('\n').enumerate().filter(|(at, _)| at + 1 != *number).map(|(_, kept)| kept).collect();
        write(&file, &kept)?;
        output.data(&Listed { id: line.id(), line }, format_args!("{} ({}) is revoked", line.name(), line.id()))?;
        Ok(Outcome::Ok)
    }
}

// === impl Keysfile ===

impl Keysfile {
    fn path(&self) -> anyhow::Result<PathBuf> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        // Settings that are not in order yet, because a listener waits for its keys, name none either.
        let named = self.config.load().ok().map(|config| config.http.keys).filter(|keys| !keys.as_os_str().is_empty());
        named.ok_or_else(|| Usage("say which file: --file keys.jsonl, or http.keys in the settings".to_owned()).into())
    }
}

/// One command at a time: the folder is locked, because the file itself is replaced.
fn turn(file: &Path) -> anyhow::Result<File> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let lock = || {
        let folder = File::open(folder)?;
        folder.lock()?;
        std::io::Result::Ok(folder)
    };
    lock().with_context(|| format!("cannot use the folder {}", folder.display()))
}

fn read(file: &Path) -> anyhow::Result<String> {
    let bytes = read_file(file, MAX_FILE_BYTES)?;
    String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8", file.display()))
}

fn lines(file: &Path, text: &str) -> anyhow::Result<Vec<(usize, Line)>> {
    keys::lines(text.as_bytes()).with_context(|| file.display().to_string())
}

/// Replaces the file, if nodes will take what it becomes.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    Keys::read(text.as_bytes(), None, &Metrics::default()).with_context(|| file.display().to_string())?;
    write_file(file, text.as_bytes())
}
