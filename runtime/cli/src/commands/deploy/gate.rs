//! `selvedge deploy --gate`: a release that breaks a threshold against the one that runs is not deployed. Owns what a gate may say
//! and when it holds; docs/replay.md has every key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use selvedge_build::channel::Pointer;
use selvedge_build::definitions::{self, BadFile};
use selvedge_decision::definition::Span;
use selvedge_node::link::NatsLink;
use serde::{Deserialize, Serialize};

use crate::commands::diff::Told;
use crate::compare::changes::{Comparison, Placed};
use crate::compare::earned::Wish;
use crate::compare::study::Study;
use crate::core::CoreArgs;
use crate::files::read_file;
use crate::output::{Output, Usage};
use crate::recorded::{Days, Source, Wanted};
use crate::releases::Releases;

/// The largest gate, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// The fewest decisions of a placement that are enough, when the gate does not say.
const MIN_DECISIONS: u64 = 100;
/// The largest share of decisions that may not be comparable, when the gate does not say.
const MAX_NOT_COMPARED: f64 = 0.05;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct GateArgs {
    /// Compare the release with the one that runs, on recorded decisions, and stop it when it breaks a threshold of this file.
    #[arg(long, value_name = "FILE")]
    gate: Option<PathBuf>,
    /// The decisions: `nats` for the core's stream, a node's outbox folder, or a lake.
    #[arg(long, value_name = "SOURCE", default_value = "nats", requires = "gate")]
    replay: Source,
    #[command(flatten)]
    days: Days,
}

/// `gate.toml`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gate {
    /// What holds for every placement that both releases have.
    #[serde(default)]
    every: Thresholds,
    /// By placement: what holds there instead.
    #[serde(default)]
    placement: BTreeMap<String, Thresholds>,
}

/// What a placement may do.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Thresholds {
    /// The fewest decisions to judge by.
    min_decisions: Option<u64>,
    /// The largest share of decisions that cannot be compared.
    max_not_compared: Option<f64>,
    /// The largest share of decisions whose choices change.
    max_changed: Option<f64>,
    /// How much the share of static answers may grow.
    max_fallback_increase: Option<f64>,
    /// How much the share of empty answers may grow.
    max_empty_increase: Option<f64>,
    /// The CPU of a decision over that of the running release.
    max_cpu_ratio: Option<f64>,
    /// By kind of reward.
    #[serde(default)]
    value: BTreeMap<String, ValueThreshold>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueThreshold {
    /// The lower end of the change, relative to what the running release earns.
    min_change: f64,
    /// How long after a decision a reward counts.
    window: Option<Span>,
}

/// A threshold that does not hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Breach {
    placement: String,
    threshold: String,
    why: String,
}

/// What a gate said.
#[derive(Debug, Serialize)]
struct Judged<'a> {
    gate: &'static str,
    breaches: &'a [Breach],
    comparison: &'a Comparison,
}

// === impl GateArgs ===

impl GateArgs {
    /// Whether what is said belongs together.
    pub(super) fn check(&self) -> Result<(), Usage> {
        match self.gate.is_none() && self.days != Days::default() {
            true => Err(Usage("--since and --until say which decisions --gate compares".to_owned())),
            false => Ok(()),
        }
    }

    /// Whether the release may go to the channel: it may when there is no gate.
    pub(super) async fn passes(
        &self,
        nats: &NatsLink,
        (channel, core): (&str, &CoreArgs),
        bytes: &[u8],
        output: &Output,
    ) -> anyhow::Result<bool> {
        let Some(path) = &self.gate else { return Ok(true) };
        let gate = Gate::read(path)?;
        let Some(value) = nats.read_channel(channel).await? else {
            anyhow::bail!(
                "--gate: channel {channel} points to no release to compare with; deploy its first one without a gate"
            );
        };
        let running = Pointer::read(channel, &value.bytes)?.release;
        let mut releases = Releases::new(Some(core))?;
        let b = releases.add_bytes(bytes)?;
        let a =
            releases.of(running, output).await.map_err(|why| anyhow::anyhow!("--gate: the running release: {why}"))?;
        if a.digest == b.digest {
            output.talk(format_args!("gate: {running} runs already"));
            return Ok(true);
        }
        let wanted = Wanted { days: self.days, events: gate.asks_for_value() };
        let mut recorded = self.replay.read(core, wanted).await?;
        let (placements, study) =
            (a.plan.placements.keys().cloned().collect::<Vec<_>>(), Study::new(Rc::clone(&a), b, releases, output));
        let comparison = study.read(&mut recorded, Some(&gate.wishes()?)).await?;
        let breaches = gate.judge(&placements, &comparison);
        let judged = Judged {
            gate: if breaches.is_empty() { "passes" } else { "stopped" },
            breaches: &breaches,
            comparison: &comparison,
        };
        if breaches.is_empty() {
            output.talk(format_args!(
                "gate: passes: {} decisions compared, {} changed",
                comparison.compared, comparison.changed
            ));
            return Ok(true);
        }
        let lines: String = breaches.iter().map(|breach| format!("\n{breach}")).collect();
        output.data(&judged, format_args!("{}\n\ngate: stopped{lines}", Told(&comparison)))?;
        output.talk(format_args!("{channel} still points to {running}"));
        Ok(false)
    }
}

// === impl Gate ===

impl Gate {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let text =
            String::from_utf8(read_file(path, MAX_BYTES)?).map_err(|_| anyhow::anyhow!("{name} is not UTF-8"))?;
        Ok(Self::parse(&name, &text)?)
    }

    fn parse(name: &str, text: &str) -> Result<Self, BadFile> {
        let gate: Self = definitions::read(name, text)?;
        let all = std::iter::once((vec!["every"], &gate.every));
        let all = all.chain(gate.placement.iter().map(|(key, of)| (vec!["placement", key.as_str()], of)));
        let mut says = 0;
        for (path, of) in all {
            says += of.check().map_err(|(key, why)| {
                let path: Vec<&str> = path.iter().copied().chain(key).collect();
                definitions::at(name, text, &path, &why)
            })?;
        }
        if says == 0 {
            let why = "says no threshold: any release would pass; expected one such as max_changed under [every] or [placement.KEY]";
            return Err(definitions::at(name, text, &[], why));
        }
        Ok(gate)
    }

    /// Whether what decisions brought has to be read.
    fn asks_for_value(&self) -> bool {
        std::iter::once(&self.every).chain(self.placement.values()).any(|of| !of.value.is_empty())
    }

    /// The rewards that are asked for. One kind has one window, whichever placement names it.
    fn wishes(&self) -> anyhow::Result<Vec<Wish>> {
        let mut wishes: BTreeMap<&str, Wish> = BTreeMap::new();
        for (kind, of) in std::iter::once(&self.every).chain(self.placement.values()).flat_map(|of| &of.value) {
            let wish = Wish::new(kind);
            let wish = match of.window {
                Some(window) => wish.within(window.us()).map_err(Usage)?,
                None => wish,
            };
            if let Some(other) = wishes.insert(kind, wish.clone()).filter(|other| *other != wish) {
                return Err(Usage(format!("--gate: value.{} has two windows", other.kind)).into());
            }
        }
        Ok(wishes.into_values().collect())
    }

    /// What does not hold. `placements` are those of the running release.
    fn judge(&self, placements: &[String], comparison: &Comparison) -> Vec<Breach> {
        let mut breaches = Vec::new();
        for key in self.placement.keys().filter(|key| !placements.contains(key)) {
            let why = "the running release has no such placement: nothing can be compared".to_owned();
            breaches.push(Breach { placement: key.clone(), threshold: "placement".to_owned(), why });
        }
        for key in placements {
            let of = match self.placement.get(key) {
                Some(own) => own.over(&self.every),
                None => self.every.clone(),
            };
            for (threshold, why) in of.breaches(comparison.placements.get(key)) {
                breaches.push(Breach { placement: key.clone(), threshold, why });
            }
        }
        breaches
    }
}

// === impl Thresholds ===

impl Thresholds {
    /// How many thresholds it says; or what is wrong with one.
    fn check(&self) -> Result<usize, (Vec<&str>, String)> {
        let shares = [
            ("max_not_compared", self.max_not_compared),
            ("max_changed", self.max_changed),
            ("max_fallback_increase", self.max_fallback_increase),
            ("max_empty_increase", self.max_empty_increase),
        ];
        for (key, share) in shares {
            if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
                return Err((vec![key], "a share from 0 to 1 was expected".to_owned()));
            }
        }
        if self.max_cpu_ratio.is_some_and(|ratio| !(ratio > 0.0 && ratio.is_finite())) {
            return Err((vec!["max_cpu_ratio"], "a ratio above 0 was expected, such as 1.5".to_owned()));
        }
        for (kind, of) in &self.value {
            if !(of.min_change >= -1.0 && of.min_change.is_finite()) {
                let why = "a share of what the running release earns was expected, such as -0.05".to_owned();
                return Err((vec!["value", kind, "min_change"], why));
            }
            if let Some(Err(why)) = of.window.map(|window| Wish::new(kind).within(window.us())) {
                return Err((vec!["value", kind, "window"], why));
            }
        }
        // How much may be missing is no threshold of what is there.
        let said = shares[1..].iter().filter(|(_, share)| share.is_some()).count();
        Ok(said + usize::from(self.max_cpu_ratio.is_some()) + self.value.len())
    }

    /// With what `every` says where this says nothing.
    fn over(&self, every: &Self) -> Self {
        let mut value = every.value.clone();
        value.extend(self.value.clone());
        Self {
            min_decisions: self.min_decisions.or(every.min_decisions),
            max_not_compared: self.max_not_compared.or(every.max_not_compared),
            max_changed: self.max_changed.or(every.max_changed),
            max_fallback_increase: self.max_fallback_increase.or(every.max_fallback_increase),
            max_empty_increase: self.max_empty_increase.or(every.max_empty_increase),
            max_cpu_ratio: self.max_cpu_ratio.or(every.max_cpu_ratio),
            value,
        }
    }

    fn breaches(&self, placed: Option<&Placed>) -> Vec<(String, String)> {
        let least = self.min_decisions.unwrap_or(MIN_DECISIONS);
        let mut breaches = Vec::new();
        let mut breach = |threshold: &str, why: String| breaches.push((threshold.to_owned(), why));
        let compared = placed.map_or(0, |placed| placed.compared);
        let percent = |share: f64| format!("{:.2} %", share * 100.0);
        if let Some(placed) = placed {
            let (left, share) = placed.left_out();
            let most = self.max_not_compared.unwrap_or(MAX_NOT_COMPARED);
            if share > most {
                let gone = if placed.gone > 0 { "the release does not have the placement" } else { "" };
                let why = placed.not_compared.keys().next().map_or(gone, String::as_str);
                breach(
                    "max_not_compared",
                    format!(
                        "{left} decisions cannot be compared, {} (at most {}): {why}",
                        percent(share),
                        percent(most)
                    ),
                );
            }
        }
        if compared < least {
            let without = placed.map_or(0, |placed| placed.without_inputs);
            let hint = if without > 0 { format!(", {without} are recorded without inputs") } else { String::new() };
            breach("min_decisions", format!("{compared} decisions to judge by{hint} (at least {least})"));
        }
        // A gate that asks for no data of a placement has nothing to say of it without.
        let Some(placed) = placed.filter(|placed| placed.compared > 0) else { return breaches };
        let rates = [
            ("max_changed", placed.share_changed(), self.max_changed, "of the choices change"),
            (
                "max_fallback_increase",
                placed.after.fallback_rate - placed.before.fallback_rate,
                self.max_fallback_increase,
                "more answers are the static order",
            ),
            (
                "max_empty_increase",
                placed.after.empty_rate - placed.before.empty_rate,
                self.max_empty_increase,
                "more answers are empty",
            ),
        ];
        for (threshold, found, most, what) in rates {
            if let Some(most) = most.filter(|most| found > *most) {
                breach(threshold, format!("{} {what} (at most {})", percent(found), percent(most)));
            }
        }
        // NaN, of nothing measured, is above no ratio: there are decisions, so there is a time.
        if let Some(most) = self.max_cpu_ratio.filter(|most| placed.cpu_ratio > *most) {
            breach("max_cpu_ratio", format!("a decision takes {:.2} x the CPU (at most {most})", placed.cpu_ratio));
        }
        for (kind, of) in &self.value {
            let threshold = format!("value.{kind}");
            let Some(value) = placed.value.get(kind) else {
                breach(&threshold, "insufficient evidence: nothing is known of it".to_owned());
                continue;
            };
            match value.relative_change() {
                None => breach(&threshold, format!("insufficient evidence: {}", value.insufficient.join("; "))),
                Some(changes) => {
                    // The more careful of the two estimates.
                    let low = changes.iter().map(|change| change.low).fold(f64::INFINITY, f64::min);
                    if low.is_nan() || low < of.min_change {
                        let why = format!("it may change by {} (at least {})", percent(low), percent(of.min_change));
                        breach(&threshold, why);
                    }
                }
            }
        }
        breaches
    }
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "  {}: {}: {}", self.placement, self.threshold, self.why)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_gate_is_read_and_its_mistakes_have_a_place() {
        let gate = Gate::parse(
            "gate.toml",
            "[every]\nmin_decisions = 50\nmax_changed = 0.3\n[every.value.purchase]\nmin_change = -0.02\nwindow = \"1d\"\n\
             [placement.home-hero]\nmax_changed = 0.9\n",
        )
        .unwrap();
        let own = gate.placement["home-hero"].over(&gate.every);
        assert_eq!((own.min_decisions, own.max_changed, own.value.len()), (Some(50), Some(0.9), 1));
        assert_eq!(gate.wishes().unwrap(), [Wish { kind: "purchase".into(), window_us: 86_400_000_000 }]);
        let check = |text: &str, expected: &str| {
            let error = Gate::parse("gate.toml", text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        check("", "gate.toml:1: says no threshold");
        check("[every]\nmin_decisions = 9\nmax_not_compared = 0.5\n", "gate.toml:1: says no threshold");
        check("[every]\nmax_change = 0.1\n", "gate.toml:2: every.max_change: ");
        check("[every]\nmax_changed = 30\n", "gate.toml:2: every.max_changed: a share from 0 to 1");
        check(
            "[every]\nmax_changed = 0.1\n\n[placement.a]\nmax_cpu_ratio = 0\n",
            "gate.toml:5: placement.a.max_cpu_ratio",
        );
        check(
            "[every.value.purchase]\nmin_change = -0.1\nwindow = \"30d\"\n",
            "gate.toml:3: every.value.purchase.window",
        );
        check("[every]\nmax_changed = \n", "gate.toml:2");
    }

    #[test]
    fn a_placement_without_data_is_refused() {
        let gate = Gate::parse("gate.toml", "[every]\nmax_changed = 0.3\n[placement.b]\nmin_decisions = 0\n").unwrap();
        let none = Comparison {
            a: String::new(),
            b: String::new(),
            compared: 0,
            changed: 0,
            skipped: Default::default(),
            values_left_out: 0,
            placements: BTreeMap::new(),
        };
        let breaches = gate.judge(&["a".to_owned(), "b".to_owned()], &none);
        let told: Vec<String> = breaches.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["  a: min_decisions: 0 decisions to judge by (at least 100)"]);
        assert_eq!(gate.judge(&["a".to_owned()], &none).len(), 2, "a placement that is named and not there");
    }
}
