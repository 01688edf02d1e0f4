//! `selvedge bandits`: what policies learned, and the switch that keeps them from exploring.

use std::collections::BTreeSet;

use selvedge_build::definitions::nearest;
use selvedge_node::bandits::Snapshot;
use selvedge_node::link::NatsLink;
use selvedge_node::link::nats::bandits::OFF;
use serde::Serialize;

use crate::commands::core::plan_of_channel;
use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output, Usage};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show what was learned: of each action how often it was chosen and rewarded.
    Show {
        #[command(flatten)]
        core: CoreArgs,
    },
    /// Switch exploring off: every node chooses the best from the next second on, and goes on learning.
    Off(Switch),
    /// Switch exploring on again.
    On(Switch),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Switch {
    /// The placements; all when none is named.
    placements: Vec<String>,
    /// The channel whose release has them.
    #[arg(long, value_name = "NAME", default_value = "prod")]
    channel: String,
    #[command(flatten)]
    core: CoreArgs,
}

#[derive(Serialize)]
struct Report {
    /// Placements in which exploring is switched off, `*` for all.
    off: BTreeSet<String>,
    bandits: Vec<Learned>,
}

#[derive(Serialize)]
struct Learned {
    bandit: String,
    /// All up to this sequence of the stream is in it.
    at: u64,
    actions: Vec<Action>,
}

#[derive(Serialize)]
struct Action {
    action: String,
    trials: i64,
    rewards: i64,
}

/// All placements.
const ALL: &str = "*";

// === impl Command ===

impl Command {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        match self {
            Self::Show { core } => block_on(0, show(&core, output)),
            Self::Off(switch) => block_on(0, switch.off(output)),
            Self::On(switch) => block_on(0, switch.on(output)),
        }
    }
}

// === impl Switch ===

impl Switch {
    async fn off(&self, output: &Output) -> anyhow::Result<Outcome> {
        let nats = self.core.connect().await?;
        self.check(&nats, &BTreeSet::new()).await?;
        let (mut off, revision) = nats.exploring_off().await?;
        match &self.placements[..] {
            [] => {
                off.insert(ALL.to_owned());
            }
            named => off.extend(named.iter().cloned()),
        }
        switch(&nats, off, revision, output).await
    }

    async fn on(&self, output: &Output) -> anyhow::Result<Outcome> {
        let nats = self.core.connect().await?;
        let (mut off, revision) = nats.exploring_off().await?;
        if self.placements.is_empty() {
            off.clear();
        } else if off.contains(ALL) {
            let why = "exploring is switched off everywhere: `selvedge bandits on` switches it on, then switch it off where it \
                       is to stay off";
            return Err(Usage(why.to_owned()).into());
        }
        // One that is switched off may be of a release of before.
        self.check(&nats, &off).await?;
        off.retain(|known| !self.placements.contains(known));
        switch(&nats, off, revision, output).await
    }

    /// Refuses a placement that neither the channel's release has nor `off`: one that is written wrongly would be switched nowhere.
    async fn check(&self, nats: &NatsLink, off: &BTreeSet<String>) -> anyhow::Result<()> {
        if self.placements.iter().all(|placement| off.contains(placement)) {
            return Ok(());
        }
        let Some(plan) = plan_of_channel(nats, &self.channel).await? else { return Ok(()) };
        let known: BTreeSet<&String> = plan.placements.keys().chain(off).collect();
        let Some(other) = self.placements.iter().find(|placement| !known.contains(placement)) else { return Ok(()) };
        let hint = nearest(other, known.iter().map(|known| known.as_str()));
        let hint = hint.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        Err(Usage(format!("the release of channel {} has no placement {other:?}{hint}", self.channel)).into())
    }
}

async fn show(core: &CoreArgs, output: &Output) -> anyhow::Result<Outcome> {
    let nats = core.connect().await?;
    let (values, _) = nats.bandits(0).await?;
    let mut report = Report { off: BTreeSet::new(), bandits: Vec::new() };
    for (key, json) in values {
        let Some(json) = json else { continue };
        if key == OFF {
            report.off = serde_json::from_slice(&json).unwrap_or_default();
        } else if let Some(snapshot) = Snapshot::read(&json) {
            let actions = snapshot.tally.totals().map(|(action, trials, rewards)| Action {
                action: action.to_owned(),
                trials,
                rewards,
            });
            report.bandits.push(Learned { bandit: key, at: snapshot.at, actions: actions.collect() });
        }
    }
    report.bandits.sort_by(|a, b| a.bandit.cmp(&b.bandit));
    output.data(&report, report.text())?;
    Ok(Outcome::Ok)
}

async fn switch(nats: &NatsLink, off: BTreeSet<String>, revision: u64, output: &Output) -> anyhow::Result<Outcome> {
    nats.switch_exploring_off(&off, revision).await?;
    let report = Report { off, bandits: Vec::new() };
    output.data(&report.off, report.switched())?;
    Ok(Outcome::Ok)
}

// === impl Report ===

impl Report {
    fn switched(&self) -> String {
        if self.off.is_empty() {
            "exploring is switched off nowhere".to_owned()
        } else if self.off.contains(ALL) {
            "exploring is switched off everywhere".to_owned()
        } else {
            let off: Vec<&str> = self.off.iter().map(String::as_str).collect();
            format!("exploring is switched off in {}", off.join(", "))
        }
    }

    fn text(&self) -> String {
        let mut text = self.switched();
        if self.bandits.is_empty() {
            text.push_str("\nnothing was learned yet: `selvedge core bandits` merges what nodes learn");
        }
        for bandit in &self.bandits {
            text.push_str(&format!("\n\n{} (up to {} of the stream)\n", bandit.bandit, bandit.at));
            let width = bandit.actions.iter().map(|action| action.action.chars().count()).max().unwrap_or(0).max(6);
            text.push_str(&format!("{:width$}  {:>10}  {:>10}  {:>7}", "action", "chosen", "rewarded", "rate"));
            for action in &bandit.actions {
                let rate = if action.trials > 0 { action.rewards as f64 / action.trials as f64 } else { 0.0 };
                text.push_str(&format!(
                    "\n{:width$}  {:>10}  {:>10}  {:>6.2}%",
                    action.action,
                    action.trials,
                    action.rewards,
                    100.0 * rate
                ));
            }
        }
        text
    }
}
