//! Two releases on recorded decisions. Owns the run: which records count, what each decides, and what is kept of it until all rewards
//! are known.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use selvedge_decision::{CORE_VERSION, Digest, Reason, Record};

use super::changes::{Changes, Comparison, Skipped};
use super::earned::{Earned, Wish, person};
use super::worth::Kept;
use super::{Breakers, Carries, Lack, Ran};
use crate::core::CoreArgs;
use crate::output::{Output, Usage};
use crate::recorded::{Found, Recorded};
use crate::releases::{Release, Releases};

/// Decisions in memory, at most.
const MAX_DECISIONS: u64 = 2_000_000;
/// Changed decisions of a placement whose inputs are looked at one by one: each costs two decisions an input.
const LOOKED_AT: u64 = 50;

/// Two releases, and what was seen of them so far.
pub(crate) struct Study<'o> {
    pub(super) a: Rc<Release>,
    pub(super) b: Rc<Release>,
    releases: Releases,
    carries: Carries,
    breakers: Breakers,
    pub(super) earned: Earned,
    pub(super) placements: BTreeMap<Arc<str>, Seen>,
    pub(super) skipped: Skipped,
    decisions: u64,
    output: &'o Output,
}

/// What was seen of one placement.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) changes: Changes,
    pub(super) kept: Kept,
}

// === impl Study ===

impl<'o> Study<'o> {
    /// Of `a` and `b`; releases that decided besides them are among `releases`, or fetched.
    pub(crate) fn new(a: Rc<Release>, b: Rc<Release>, releases: Releases, output: &'o Output) -> Self {
        Self {
            a,
            b,
            releases,
            carries: Carries::default(),
            breakers: Breakers::default(),
            earned: Earned::default(),
            placements: BTreeMap::new(),
            skipped: Skipped::default(),
            decisions: 0,
            output,
        }
    }

    /// Reads all of a source, and says what it comes to: with values by `wishes`, or by every kind of reward.
    pub(crate) async fn read(mut self, recorded: &mut Recorded, wishes: Option<&[Wish]>) -> anyhow::Result<Comparison> {
        while let Some(found) = recorded.next().await? {
            match found {
                Found::Record(record) => self.record(&record).await?,
                Found::Event(event) => self.earned.add(*event)?,
                Found::Broken(why) => {
                    self.skipped.broken += 1;
                    if self.skipped.broken == 1 {
                        self.output.talk(format_args!("skipped: {why}"));
                    }
                }
            }
        }
        Ok(Comparison::of(self, wishes))
    }

    async fn record(&mut self, record: &Record) -> anyhow::Result<()> {
        let is_known =
            [&self.a, &self.b].iter().any(|release| release.plan.placements.contains_key(&*record.placement));
        if !is_known {
            self.skipped.no_placement += 1;
            return Ok(());
        }
        self.decisions += 1;
        if self.decisions > MAX_DECISIONS {
            let why = format!("more than {MAX_DECISIONS} decisions: ask for fewer days, by --since and --until");
            return Err(Usage(why).into());
        }
        let decided = match record.inputs.is_some() {
            true => self.releases.of(record.release, self.output).await,
            false => Err(String::new()),
        };
        let seen = self.placements.entry(record.placement.clone()).or_default();
        seen.changes.recorded += 1;
        if record.inputs.is_none() {
            seen.changes.without_inputs += 1;
            return Ok(());
        }
        match decided {
            Ok(decided) => self.compare(record, &decided),
            Err(why) => seen.changes.not_compared(format!("decided by {}: {why}", record.release)),
        }
        Ok(())
    }

    fn compare(&mut self, record: &Record, decided: &Release) {
        let Some(seen) = self.placements.get_mut(&record.placement) else { return };
        let changes = &mut seen.changes;
        if record.core != CORE_VERSION {
            return changes.not_compared(format!("decided by version {} of the decision core", record.core));
        }
        let (a, b) = (&*self.a, &*self.b);
        if changes.compared == 0 {
            // The first call of a module touches its code and data for the first time.
            for by in [a, b] {
                drop(self.carries.run(record, decided, by, &mut self.breakers));
            }
        }
        let b_first = changes.compared % 2 == 1;
        let mut run = |by: &Release| self.carries.run(record, decided, by, &mut self.breakers);
        let (before, after) = if b_first {
            let after = run(b);
            (run(a), after)
        } else {
            (run(a), run(b))
        };
        let (before, after) = match (before, after) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(lack), after) => return changes.lack("A", &lack, after.is_ok()),
            (_, Err(lack)) => return changes.lack("B", &lack, true),
        };
        for (by, ran) in [(a, &before), (b, &after)] {
            if by.digest == decided.digest && !is_faithful(record, ran) {
                // Whoever reads a page's key can send such records: they say nothing of a release.
                if record.id.is_of_a_page() {
                    changes.of_pages_different += 1;
                    return;
                }
                return changes.not_compared("does not replay: see `selvedge replay`".to_owned());
            }
        }
        let changed = changes.add([(a, &before), (b, &after)], &record.placement);
        seen.kept.add(record, person(record), [&before, &after]);
        if changed && changes.looked_at < LOOKED_AT {
            changes.looked_at += 1;
            let mut names = self.carries.names(record, decided, a);
            names.extend(self.carries.names(record, decided, b));
            for name in names {
                let mut without = |by: &Release, ran: &Ran| {
                    let outcome = self.carries.without((record, ran), (decided, by), &name, &mut self.breakers)?;
                    Some(super::changes::slate(&ran.rows.ids, &outcome))
                };
                let agree = without(a, &before).zip(without(b, &after)).is_some_and(|(a, b)| a == b);
                seen.changes.agreed(name, agree);
            }
        }
    }
}

/// Whether the release that decided does so again.
fn is_faithful(record: &Record, ran: &Ran) -> bool {
    let outcome = &ran.outcome;
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let choice = |choice: &selvedge_decision::record::ChoiceRecord| {
        (choice.candidate, choice.slot, choice.score.to_bits(), choice.propensity.to_bits())
    };
    outcome.reason.unwrap_or(Reason::Empty) == record.reason
        && outcome.choices.iter().map(choice).eq(record.choices.iter().map(choice))
        && bits(&outcome.values) == bits(&record.values)
        && outcome.arm == record.arm
        && outcome.faults == record.faults
}

/// Opens A and B: a file, or the digest of a release at the core, all of it.
pub(crate) async fn pair(
    named: [&str; 2],
    core: &CoreArgs,
    output: &Output,
) -> anyhow::Result<(Rc<Release>, Rc<Release>, Releases)> {
    let mut releases = Releases::new(Some(core))?;
    let mut found = Vec::new();
    for name in named {
        found.push(match name.parse::<Digest>() {
            Ok(digest) => releases.of(digest, output).await.map_err(|why| anyhow::anyhow!("{name}: {why}"))?,
            // No file is called so: it was meant to be a digest.
            Err(bad) if name.starts_with("sha256:") => return Err(Usage(bad.to_string()).into()),
            Err(_) => releases.add(name.as_ref())?,
        });
    }
    match <[Rc<Release>; 2]>::try_from(found) {
        Ok([a, b]) => Ok((a, b, releases)),
        Err(_) => anyhow::bail!("two releases are compared"),
    }
}

impl Changes {
    /// What a release does not decide.
    fn lack(&mut self, release: &str, lack: &Lack, the_other_does: bool) {
        match lack {
            Lack::Broken(why) => self.not_compared(why.clone()),
            Lack::NoPlacement if release == "B" && the_other_does => self.gone += 1,
            Lack::NoPlacement => self.not_compared(format!("{release} has no such placement")),
            Lack::Unsaid(what) => self.not_compared(format!("{release} asks for {what}, which is not recorded")),
        }
    }
}
